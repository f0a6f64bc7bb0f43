"""Edits of a served Hub, seen by huggingface_hub's own client and over plain HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import httpx2
import pytest
from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import DisabledRepoError, GatedRepoError, RepositoryNotFoundError

from gguf_assets.demo.edits import Edit, EditedHub
from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.recording import RecordedHub, write_recording
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import HubState, WrittenHub
from gguf_assets.errors import Refused
from gguf_assets_tests.hubs import DAY, gguf, hub_of, plain, repository

NEXT = DAY + timedelta(days=1)
LAST = DAY + timedelta(days=2)
ALL = (DAY, NEXT, LAST)
NAMES = ["o/model", "o/other", "p/third"]
FILES = [plain("README.md"), gguf("a.Q4_K_M.gguf"), gguf("sub/B.Q8_0.GGUF"), plain("config.json")]


def rows(**changes):
    """Three repositories; `changes` go to the first."""
    first = {
        "hub_id": "1" * 24,
        "sha": "a" * 40,
        "author": "o",
        "files": FILES,
        "likes": 5,
        "downloads": 100,
        "gguf": {"architecture": "llama", "total": 7},
    }
    return [
        repository("o/model", **(first | changes)),
        repository("o/other", hub_id="2" * 24, sha="b" * 40),
        repository("p/third", hub_id="3" * 24, sha="c" * 40, gated="auto", disabled=True, private=False),
    ]


def three_days():
    return {DAY: rows(), NEXT: rows(), LAST: rows()}


@pytest.fixture(scope="module")
def served():
    with hub_of(three_days(), tick=0) as hub:
        yield hub


@pytest.fixture
def hub(served):
    """The first of three equal days, without edits."""
    served.clear_edits()
    served.set_day(DAY)
    return served


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token=False)


def listed(api, **query):
    expand = ["sha", "siblings", "gated", "disabled", "createdAt", "lastModified", "tags", "author"]
    found = list(api.list_models(sort="created_at", expand=expand, **({"filter": "gguf"} | query)))
    assert len({model.id for model in found}) == len(found)
    return {model.id: model for model in found}


def get(url):
    """The answer itself: a redirect is not followed."""
    return get_session().get(url, follow_redirects=False)


def post(url, **body):
    return get_session().post(url, **body)


def identity(api, name):
    return get(f"{api.endpoint}/api/models/{name}").json()["_id"]


def status(api, name):
    return get(f"{api.endpoint}/api/models/{name}").status_code


def seen(hub):
    """Every document of the Hub, by day: the listing and each repository by each name."""
    found = {}
    for day in hub.source.days:
        hub.set_day(day)
        answers = [get(f"{hub.url}/api/models?full=true")]
        answers += [get(f"{hub.url}/api/models/{name}?blobs=true") for name in (*NAMES, "o/new")]
        found[day] = [(answer.status_code, answer.text) for answer in answers]
    return found


def test_a_removed_repository_answers_like_one_that_never_was(hub, api):
    hub.edit(Edit("remove", "o/model"))
    assert set(listed(api)) == {"o/other", "p/third"}
    with pytest.raises(RepositoryNotFoundError) as removed:
        api.model_info("o/model")
    with pytest.raises(RepositoryNotFoundError) as never:
        api.model_info("o/never-was")
    assert removed.value.response.status_code == never.value.response.status_code == 401
    assert removed.value.response.json() == never.value.response.json()


@pytest.mark.parametrize("day", ALL)
def test_a_renamed_repository_redirects_from_its_old_name(hub, api, day):
    hub.set_day(day)
    hub.edit(Edit("rename", "o/model", new_name="q/new"))
    for later in ALL[ALL.index(day) :]:
        hub.set_day(later)
        answer = get(f"{hub.url}/api/models/o/model/tree/main?recursive=true")
        assert answer.status_code == 307
        assert answer.headers["location"] == "/api/models/q/new/tree/main?recursive=true"
        info = api.model_info("o/model")
        assert (info.id, info.author, info.sha) == ("q/new", "q", "a" * 40)
        assert identity(api, "q/new") == "1" * 24
        assert set(listed(api)) == {"q/new", "o/other", "p/third"}
        assert set(listed(api, author="q")) == {"q/new"}
        assert set(listed(api, author="o")) == {"o/other"}


@pytest.mark.parametrize("day", ALL)
def test_a_re_created_repository_is_another_one_under_the_same_name(hub, api, day):
    hub.set_day(day)
    hub.edit(Edit("recreate", "o/model"))
    answer = get(f"{hub.url}/api/models/o/model")
    document = answer.json()
    assert (answer.status_code, document["id"]) == (200, "o/model")
    assert document["_id"] not in ("1" * 24, "2" * 24, "3" * 24)
    assert len(document["_id"]) == 24
    assert document["sha"] != "a" * 40
    assert len(document["sha"]) == 40
    assert document["createdAt"] == f"{day}T12:00:00.000Z"
    assert (document["likes"], document["downloads"]) == (0, 0)
    found = listed(api)
    assert set(found) == set(NAMES)
    assert found["o/model"].sha == document["sha"]
    assert next(iter(found)) == "o/model", "the newest comes first"
    raw = get(f"{hub.url}/api/models?full=true").json()
    assert "1" * 24 not in {item["_id"] for item in raw}, "the old one is gone"
    assert [s.rfilename for s in found["o/model"].siblings] == [file.path for file in FILES]


def test_a_re_created_repository_has_no_history(hub, api):
    hub.set_day(NEXT)
    hub.edit(Edit("recreate", "o/model"))
    sha = api.model_info("o/model").sha
    assert [commit.commit_id for commit in api.list_repo_commits("o/model")] == [sha]
    first = identity(api, "o/model")
    hub.edit(Edit("recreate", "o/model"))
    assert len({first, identity(api, "o/model"), "1" * 24}) == 3, "it can happen twice a day"
    assert status(api, "o/model") == 200


def test_the_counters_of_a_re_created_repository_start_again_and_move_on():
    days = {DAY: rows(), NEXT: rows(likes=7, downloads=130), LAST: rows(likes=6, downloads=90)}
    with hub_of(days, day=DAY) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        hub.edit(Edit("recreate", "o/model"))
        counted = []
        for day in ALL:
            hub.set_day(day)
            info = api.model_info("o/model")
            counted.append((info.likes, info.downloads))
    assert counted == [(0, 0), (2, 30), (1, 0)]


@pytest.mark.parametrize("gate", [None, "auto", "manual"])
def test_a_gated_repository_keeps_its_files_back_until_it_is_ungated(hub, api, gate, tmp_path):
    hub.edit(Edit("gate", "o/model", gated=gate))
    assert listed(api)["o/model"].gated == api.model_info("o/model").gated == (gate or "auto")
    assert "o/model" not in listed(api, gated=False)
    with pytest.raises(GatedRepoError):
        api.hf_hub_download("o/model", "README.md", cache_dir=tmp_path)
    hub.edit(Edit("ungate", "o/model"), Edit("ungate", "p/third"))
    found = listed(api)
    assert [found[name].gated for name in NAMES] == [False, False, False]
    assert api.hf_hub_download("o/model", "README.md", cache_dir=tmp_path)


def test_a_disabled_repository_is_there_and_hands_nothing_out_until_it_is_enabled(hub, api):
    hub.edit(Edit("disable", "o/model"), Edit("enable", "p/third"))
    found = listed(api)
    assert [found[name].disabled for name in NAMES] == [True, False, False]
    assert api.model_info("o/model").disabled is True
    with pytest.raises(DisabledRepoError):
        api.list_repo_commits("o/model")
    hub.edit(Edit("enable", "o/model"))
    assert listed(api)["o/model"].disabled is False
    assert len(api.list_repo_commits("o/model")) == 1


def test_a_private_repository_is_hidden_until_it_is_public(hub, api):
    hub.edit(Edit("private", "o/model"))
    assert set(listed(api)) == {"o/other", "p/third"}
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("o/model")
    hub.edit(Edit("public", "o/model"))
    assert set(listed(api)) == set(NAMES)
    assert identity(api, "o/model") == "1" * 24


def test_an_ungguffed_repository_is_still_there_without_its_gguf_files(hub, api):
    hub.edit(Edit("ungguf", "o/model"))
    assert set(listed(api)) == {"o/other", "p/third"}
    assert "o/model" not in {model.id for model in api.list_models(apps="llama.cpp")}
    info = api.model_info("o/model", files_metadata=True)
    assert [s.rfilename for s in info.siblings] == ["README.md", "config.json"]
    assert "gguf" not in info.tags
    assert info.sha != "a" * 40
    assert (info.gguf, info.library_name) == (None, None)
    assert info.last_modified.date() == DAY
    everything = {model.id for model in api.list_models()}
    assert everything == set(NAMES), "only the tag keeps it out of the listing"


@pytest.mark.parametrize("day", ALL)
def test_a_touched_repository_has_a_new_commit_and_the_old_one_stays_reachable(hub, api, day):
    hub.set_day(day)
    before = api.model_info("o/model")
    hub.edit(Edit("touch", "o/model"))
    after = api.model_info("o/model")
    assert after.sha not in (before.sha, "b" * 40, "c" * 40)
    assert len(after.sha) == 40
    assert listed(api)["o/model"].sha == after.sha
    assert after.last_modified == before.last_modified
    assert [commit.commit_id for commit in api.list_repo_commits("o/model")] == [after.sha, before.sha]
    for sha in (before.sha, after.sha):
        found = api.model_info("o/model", revision=sha, files_metadata=True)
        assert {s.rfilename: s.size for s in found.siblings} == {file.path: file.size for file in FILES}


def test_a_touch_may_set_the_date_and_the_next_touch_is_another_commit(hub, api):
    hub.edit(Edit("touch", "o/model", last_modified="2025-08-10T11:30:00+02:00"))
    first = get(f"{hub.url}/api/models/o/model").json()
    assert first["lastModified"] == "2025-08-10T09:30:00.000Z"
    assert next(iter(api.list_models(sort="last_modified"))).id == "o/model"
    hub.edit(Edit("touch", "o/model", last_modified="2020-01-01T00:00:00Z"))
    second = get(f"{hub.url}/api/models/o/model").json()
    assert second["lastModified"] == "2020-01-01T00:00:00.000Z", "a date may go back"
    assert len({"a" * 40, first["sha"], second["sha"]}) == 3
    hub.set_day(LAST)
    assert api.model_info("o/model").sha == second["sha"]


def test_a_touch_is_the_head_until_the_source_has_a_later_one():
    late = {"sha": "d" * 40, "last_modified": "2025-08-12T01:00:00.000Z"}
    with hub_of({DAY: rows(), NEXT: rows(), LAST: rows(**late)}, day=DAY) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        hub.edit(Edit("touch", "o/model", last_modified="2025-08-10T09:30:00Z"), Edit("gate", "o/other"))
        touched = api.model_info("o/model").sha
        shas = []
        for day in (NEXT, LAST):
            hub.set_day(day)
            shas.append(api.model_info("o/model").sha)
        assert shas == [touched, "d" * 40]
        commits = api.list_repo_commits("o/model")
    assert [commit.commit_id for commit in commits] == ["d" * 40, touched, "a" * 40]
    assert commits[0].created_at.isoformat() == "2025-08-12T01:00:00+00:00"


EDITS = [
    Edit("remove", "o/model", NEXT),
    Edit("rename", "o/model", NEXT, new_name="o/new"),
    Edit("recreate", "o/model", NEXT),
    Edit("gate", "o/model", NEXT),
    Edit("ungate", "p/third", NEXT),
    Edit("disable", "o/model", NEXT),
    Edit("enable", "p/third", NEXT),
    Edit("private", "o/model", NEXT),
    Edit("ungguf", "o/model", NEXT),
    Edit("touch", "o/model", NEXT),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.kind)
@pytest.mark.parametrize("shown", ALL)
def test_an_edit_holds_from_its_day_on_whatever_day_is_shown_and_can_be_taken_back(hub, edit, shown):
    unedited = seen(hub)
    hub.set_day(shown)
    hub.edit(edit)
    assert hub.day == shown
    edited = seen(hub)
    assert edited[DAY] == unedited[DAY]
    assert edited[NEXT] != unedited[NEXT]
    assert edited[LAST] == edited[NEXT], "the source lists the same on both"
    hub.clear_edits()
    assert (seen(hub), hub.edits) == (unedited, ())


def test_an_edited_repository_still_moves_as_its_source_does():
    days = {
        DAY: rows(),
        NEXT: rows(downloads=250, sha="d" * 40),
        LAST: rows()[1:],
    }
    with hub_of(days, day=DAY) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        hub.edit(Edit("rename", "o/model", new_name="o/new"), Edit("ungguf", "o/new"))
        first = api.model_info("o/new")
        hub.set_day(NEXT)
        second = api.model_info("o/new")
        assert (first.downloads, second.downloads) == (100, 250)
        assert len({first.sha, second.sha, "a" * 40, "d" * 40}) == 4, "its commit is a commit here, too"
        assert [s.rfilename for s in second.siblings] == ["README.md", "config.json"]
        hub.set_day(LAST)
        assert (status(api, "o/new"), status(api, "o/model")) == (401, 401)


def test_edits_of_one_repository_compose_in_the_order_given(hub, api):
    hub.edit(Edit("rename", "o/model", new_name="o/a"), Edit("gate", "o/a", gated="manual"))
    hub.edit(Edit("rename", "o/a", new_name="o/b"), Edit("touch", "o/b"))
    touched = api.model_info("o/b").sha
    for day in ALL:
        hub.set_day(day)
        for name in ("o/model", "o/a"):
            answer = get(f"{hub.url}/api/models/{name}")
            assert (answer.status_code, answer.headers["location"]) == (307, "/api/models/o/b")
        info = api.model_info("o/b")
        assert (info.gated, info.sha, identity(api, "o/b")) == ("manual", touched, "1" * 24)
    hub.edit(Edit("ungate", "o/b", DAY), Edit("gate", "o/b", NEXT), Edit("ungate", "o/b", DAY))
    assert api.model_info("o/b").gated is False, "the one given last counts, also on the day of another"
    hub.edit(Edit("recreate", "o/b"), Edit("disable", "o/b"))
    assert identity(api, "o/b") != "1" * 24
    assert api.model_info("o/b").disabled is True
    assert (status(api, "o/model"), status(api, "o/a")) == (401, 401), "what they led to is gone"


def test_a_name_passes_to_another_repository_and_its_redirect_ends(hub, api):
    hub.edit(Edit("rename", "o/model", new_name="o/new"), Edit("rename", "o/other", new_name="o/model"))
    hub.edit(Edit("remove", "o/new", NEXT), Edit("rename", "p/third", NEXT, new_name="o/new"))
    assert (identity(api, "o/model"), identity(api, "o/new")) == ("2" * 24, "1" * 24)
    hub.set_day(LAST)
    assert (identity(api, "o/model"), identity(api, "o/new")) == ("2" * 24, "3" * 24)
    hub.edit(Edit("remove", "o/model"))
    assert status(api, "o/model") == 401, "neither who bore it first nor who bears that one's name since"
    assert get(f"{hub.url}/api/models/p/third").headers["location"] == "/api/models/o/new"


def test_a_name_taken_up_by_another_leads_nowhere_when_that_one_is_gone(hub, api):
    hub.edit(Edit("rename", "o/model", new_name="o/new"), Edit("rename", "o/other", new_name="o/model"))
    hub.edit(Edit("remove", "o/model", NEXT))
    for day in (NEXT, LAST):
        hub.set_day(day)
        assert (status(api, "o/new"), status(api, "o/model"), status(api, "o/other")) == (200, 401, 401)


def test_a_repository_can_be_renamed_to_another_case_and_back(hub, api):
    hub.edit(Edit("rename", "o/model", new_name="o/Model"))
    assert set(listed(api)) == {"o/Model", "o/other", "p/third"}
    assert get(f"{hub.url}/api/models/o/model").headers["location"] == "/api/models/o/Model"
    hub.edit(Edit("rename", "o/Model", new_name="o/model"))
    assert status(api, "o/model") == 200
    assert get(f"{hub.url}/api/models/o/Model").headers["location"] == "/api/models/o/model"


def test_redirects_of_the_source_lead_to_the_present_name():
    source = WrittenHub({DAY: rows()}, redirects={"o/was": "o/model", "o/lost": "o/gone"})
    with LoopbackHub(source) as hub:
        hub.edit(Edit("rename", "o/model", new_name="o/new"))
        assert get(f"{hub.url}/api/models/o/was").headers["location"] == "/api/models/o/new"
        assert get(f"{hub.url}/api/models/o/lost").status_code == 401
        hub.edit(Edit("remove", "o/new"))
        assert get(f"{hub.url}/api/models/o/was").status_code == 401


class Redirecting:
    """A source whose redirects differ from day to day, and which renames its first repository itself."""

    days = (DAY, NEXT)

    def on(self, day):
        if day == DAY:
            return HubState(DAY, rows(), redirects={"o/first": "o/model"})
        moved = [replace(row, model_id="o/moved") if row.model_id == "o/model" else row for row in rows()]
        return HubState(NEXT, moved, lambda: self.on(DAY), {"o/late": "o/other"})


def test_redirects_of_single_days_of_the_source_lead_to_present_names_too():
    with LoopbackHub(Redirecting()) as hub:

        def leads(name):
            return get(f"{hub.url}/api/models/{name}").headers.get("location")

        assert [leads(n) for n in ("o/first", "o/late")] == ["/api/models/o/moved", "/api/models/o/other"]
        hub.edit(Edit("rename", "o/other", DAY, new_name="o/new"))
        assert [leads(n) for n in ("o/first", "o/late")] == ["/api/models/o/moved", "/api/models/o/new"]


def test_edits_over_http_are_told_and_leave_the_clock_alone(hub):
    with httpx2.Client(base_url=hub.url) as client:
        client.post("/_loopback/day", json={"day": str(NEXT), "time": "23:59:00"})
        assert client.get("/_loopback/edits").json() == []
        wish = [
            {"kind": "rename", "model_id": "o/model", "new_name": "o/new"},
            {"kind": "touch", "model_id": "o/new", "last_modified": "2025-08-12T00:00:00.000Z"},
            {"kind": "gate", "model_id": "o/other", "gated": "manual", "day": str(LAST)},
            {"kind": "remove", "model_id": "p/third", "day": None},
        ]
        told = client.post("/_loopback/edits", json=wish).json()
        ids, days = ("1" * 24, "1" * 24, "2" * 24, "3" * 24), (NEXT, NEXT, LAST, NEXT)
        assert told == [
            said | {"day": str(day), "hub_id": hub_id}
            for said, hub_id, day in zip(wish, ids, days, strict=True)
        ]
        assert client.get("/_loopback/edits").json() == told
        listing = {item["id"] for item in client.get("/api/models").json()}
        assert listing == {"o/new", "o/other"}
        assert client.get("/api/models/o/other").json()["gated"] is False
        now = client.get("/_loopback").json()
        assert (now["day"], now["now"]) == (str(NEXT), "2025-08-11T23:59:00+00:00")
        assert client.delete("/_loopback/edits").json() == []
        assert {item["id"] for item in client.get("/api/models").json()} == set(NAMES)
        assert client.get("/_loopback").json()["now"] == "2025-08-11T23:59:00+00:00"


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"kind": "explode", "model_id": "o/model"}, "explode is no kind of edit. Known are: remove, rename"),
        ({"kind": None, "model_id": "o/model"}, "None is no kind of edit"),
        ({"kind": "remove", "model_id": "o/none"}, "no model o/none to remove on 2025-08-10"),
        ({"kind": "remove", "model_id": "O/MODEL"}, "Use its present name: o/model"),
        ({"kind": "remove", "model_id": "o/model", "day": "2020-01-01"}, "no day 2020-01-01"),
        ({"kind": "remove", "model_id": "o/model", "day": "today"}, "YYYY-MM-DD, not today"),
        ({"kind": "remove", "model_id": "o/model", "day": ""}, "YYYY-MM-DD, not "),
        (
            {"kind": "rename", "model_id": "o/model", "new_name": "o/other"},
            "o/other (222222222222222222222222)",
        ),
        (
            {"kind": "rename", "model_id": "o/model", "new_name": "P/Third"},
            "p/third (333333333333333333333333)",
        ),
        ({"kind": "rename", "model_id": "o/model", "new_name": "o/model"}, "the name it has already"),
        ({"kind": "rename", "model_id": "o/model", "new_name": "o/a/b"}, "o/a/b: it must be owner/name"),
        ({"kind": "rename", "model_id": "o/model"}, "it must be owner/name"),
        ({"kind": "gate", "model_id": "o/model", "gated": "maybe"}, "gated maybe, only auto or manual"),
        ({"kind": "gate", "model_id": "o/model", "gated": True}, "gated of the edit"),
        ({"kind": "remove", "model_id": "o/model", "new_name": "o/x"}, "new_name belongs to the edit rename"),
        ({"kind": "touch", "model_id": "o/model", "last_modified": "2025-08-10T09:30:00"}, "it must be like"),
        ({"kind": "touch", "model_id": "o/model", "last_modified": "late"}, "last_modified is late"),
        ({"kind": "remove", "model_id": "o/model", "how": "hard"}, "is no edit"),
        ({"kind": "remove"}, "is no edit"),
        ("remove", "is no edit"),
    ],
)
def test_a_bad_edit_is_a_400_and_none_of_its_list_is_made(hub, wish, told):
    before = seen(hub)
    hub.set_day(DAY)
    hub.edit(Edit("gate", "o/other", LAST))
    good = {"kind": "disable", "model_id": "o/other"}
    answer = post(f"{hub.url}/_loopback/edits", json=[good, wish, good])
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert [made.edit for made in hub.edits] == [Edit("gate", "o/other", LAST)]
    after = seen(hub)
    assert [after[day] == before[day] for day in ALL] == [True, True, False]


@pytest.mark.parametrize("body", [b"", b"{", b'{"kind": "remove", "model_id": "o/model"}', b"null"])
def test_a_body_that_is_no_list_is_a_400(hub, body):
    answer = post(f"{hub.url}/_loopback/edits", content=body)
    assert (answer.status_code, hub.edits) == (400, ())


def test_a_name_that_comes_into_use_on_a_later_day_is_refused():
    days = three_days()
    days[LAST] = [*days[LAST], repository("o/later", hub_id="4" * 24)]
    with hub_of(days, day=DAY) as hub:
        wish = {"kind": "rename", "model_id": "o/model", "new_name": "o/later"}
        answer = post(f"{hub.url}/_loopback/edits", json=[wish])
        assert (answer.status_code, hub.edits) == (400, ())
        assert f"on 2025-08-12 o/later ({'4' * 24}) has that name" in answer.json()["error"]
        hub.edit(Edit("remove", "o/later", LAST), Edit(**wish))
        hub.set_day(LAST)
        assert get(f"{hub.url}/api/models/o/later").json()["_id"] == "1" * 24


def test_a_removed_model_cannot_be_edited_and_its_name_is_free(hub, api):
    hub.edit(Edit("remove", "o/model"))
    with pytest.raises(Refused, match=r"no model o/model to gate on 2025-08-10"):
        hub.edit(Edit("gate", "o/model"))
    hub.edit(Edit("rename", "o/other", new_name="o/model"))
    assert identity(api, "o/model") == "2" * 24


def test_the_source_of_a_hub_stays_what_it_was_and_another_begins_without_edits():
    source = WrittenHub(three_days())
    with LoopbackHub(source) as hub:
        hub.edit(Edit("remove", "o/model"))
        assert hub.source is source
        assert {r.model_id for r in source.on(LAST).repositories} == set(NAMES)
        hub.source = WrittenHub({DAY: rows(sha="f" * 40)})
        hub.set_day(DAY)
        assert (hub.edits, get(f"{hub.url}/api/models/o/model").json()["sha"]) == ((), "f" * 40)


def test_an_edited_hub_serves_states_made_before_an_edit_and_needs_a_day():
    edited = EditedHub(WrittenHub(three_days()))
    states = [edited.on(day) for day in ALL]
    with pytest.raises(Refused, match="does not say from which day"):
        edited.edit(Edit("remove", "o/model"))
    edited.edit(Edit("remove", "o/model", NEXT))
    assert edited.on(DAY) is states[0]
    assert [len(edited.on(day).repositories) for day in ALL] == [3, 2, 2]
    assert [len(state.repositories) for state in states] == [3, 3, 3]
    with LoopbackHub(edited, day=LAST) as hub:
        assert {item["id"] for item in get(f"{hub.url}/api/models").json()} == {"o/other", "p/third"}
        assert [made["kind"] for made in get(f"{hub.url}/_loopback/edits").json()] == ["remove"]
        hub.clear_edits()
        assert len(get(f"{hub.url}/api/models").json()) == 3


@pytest.mark.parametrize("recorded", [False, True])
def test_generated_and_recorded_days_can_be_edited_and_recorded_again(tmp_path, recorded):
    source = GeneratedHub(seed=5, repositories=40, days=4, last_day=date(2026, 3, 5))
    if recorded:
        write_recording(source, tmp_path / "source")
        source = RecordedHub(tmp_path / "source")
    # One that lives through all days under its name, so that the edit alone moves it.
    by_day = [{r.model_id: r for r in source.on(day).repositories if not r.private} for day in source.days]
    name = next(n for n, r in by_day[0].items() if all(n in d and d[n].hub_id == r.hub_id for d in by_day))
    edited = EditedHub(source)
    edited.edit(Edit("rename", name, source.days[1], new_name="new-owner/Renamed-GGUF"))
    write_recording(edited, tmp_path / "edited")
    written = RecordedHub(tmp_path / "edited")
    for day, unedited in zip(written.days, by_day, strict=True):
        rows = {r.hub_id: r.model_id for r in written.on(day).repositories}
        expected = name if day == source.days[0] else "new-owner/Renamed-GGUF"
        assert rows[unedited[name].hub_id] == expected
        others = {r.hub_id: r.model_id for r in source.on(day).repositories if r.model_id != name}
        assert rows == others | {unedited[name].hub_id: expected}

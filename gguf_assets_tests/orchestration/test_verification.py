"""Files verified without being touched: who is asked again, what becomes of it, and what headers say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import Repository, WrittenHub
from gguf_assets.orchestration.verification import evidence_of, verification_metadata
from gguf_assets.store.capture import Capture
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import gguf, hub_of, plain, repository

DAYS = [date(2025, 8, 10) + timedelta(days=number) for number in range(5)]
SETTING = "GGUF_SYNC__VALIDATION__FILE_VERIFICATION_REQUESTS"
SAMPLE = "GGUF_SYNC__VALIDATION__HEADER_SAMPLE"
FACTS = {"architecture": "llama", "context_length": 4096, "total": 7_000_000}


def model(number: int, **fields: object) -> Repository:
    """A model whose place in the turn is its number."""
    name = f"owner/model-{number}"
    files = [plain("README.md"), gguf(f"model-{number}.Q4_K_M.gguf"), gguf(f"model-{number}.Q8_0.gguf")]
    defaults = {"hub_id": f"{number:024x}", "sha": f"{number:040x}", "files": files, "gguf": FACTS}
    return repository(name, **{**defaults, **fields})


def six(*, without: int | None = None, more: int = 0) -> Sequence[Repository]:
    """Models 1 to 6, and so many more; the popular ones come last in the turn."""
    return [model(n, downloads=100 * n) for n in range(1, 7 + more) if n != without]


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    days = {DAYS[0]: six(), DAYS[1]: six(), DAYS[2]: six(), DAYS[3]: six(without=5, more=1), DAYS[4]: six()}
    with hub_of(days, day=DAYS[0], tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def first_day(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A catalogue whose first day is published, all details known."""
    catalogue = Catalogue(tmp_path_factory.mktemp("first"), hub)
    hub.set_day(DAYS[0])
    assert catalogue.sync().code == 0
    assert capture_of(catalogue, DAYS[0]).verification_requests == 0
    return catalogue


@pytest.fixture
def catalogue(first_day: Catalogue, hub: LoopbackHub, tmp_path: Path) -> Catalogue:
    hub.set_day(DAYS[1])
    return first_day.copy(tmp_path)


def capture_of(catalogue: Catalogue, day: date) -> Capture:
    capture = catalogue.store.captures.latest(day)
    assert capture is not None
    return capture


def asked(hub: LoopbackHub) -> list[int]:
    """The models whose details the Hub was asked for, in order."""
    return [
        int(request.target.split("/revision/")[0].rpartition("-")[2])
        for request in hub.requests
        if "/revision/" in request.target
    ]


def read_files(hub: LoopbackHub) -> list[str]:
    return [unquote(r.target.rpartition("/")[2]) for r in hub.requests if "/resolve/" in r.target]


def data_of(catalogue: Catalogue, day: date) -> dict[str, str]:
    """The digests of all published data sets of a day."""
    folder = f"date={day}/"
    found = {name: digest for name, digest in catalogue.published().items() if folder in name}
    assert found
    return found


def test_the_turn_goes_round_over_the_days_and_survives_coming_and_going(catalogue, hub):
    turns = []
    for day in DAYS[1:]:
        hub.set_day(day)
        assert catalogue.sync(**{SETTING: "2"}).code == 0
        turns.append(asked(hub))
    # On the fourth day 5 is gone and 7 is new, which is asked for first; after 6 the turn begins anew.
    assert turns == [[1, 2], [3, 4], [7, 6, 1], [5, 2, 3]]
    entry = capture_of(catalogue, DAYS[4]).verification
    assert (entry.after, entry.last, entry.answered) == (f"{1:024x}", f"{3:024x}", 2)


def test_the_answers_do_not_change_the_day(first_day, catalogue, hub, tmp_path):
    other = first_day.copy(tmp_path / "other")
    # The answers are of no use and one lies, both of which would be findings if a day were made of them.
    lies = Fault(
        FaultKind.EDIT_ROW,
        "/revision/",
        count=None,
        edit={"gguf": {"architecture": "liar", "total": -1}, "siblings": None},
    )
    assert other.sync(**{SETTING: "0"}).code == 0
    assert catalogue.sync(fault=lies, **{SETTING: "100"}).code == 0
    assert asked(hub) == [1, 2, 3, 4, 5, 6]
    assert capture_of(catalogue, DAYS[1]).verification.answered == 6
    mine, others = data_of(catalogue, DAYS[1]), data_of(other, DAYS[1])
    assert mine.keys() == others.keys()
    assert {n: d for n, d in mine.items() if "manifest" not in n} == {
        n: d for n, d in others.items() if "manifest" not in n
    }


def test_a_killed_sync_goes_on_with_the_same_choice(catalogue, hub):
    said = {"x-error-message": "Invalid credentials in Authorization header"}
    refused = Fault(FaultKind.STATUS, "/resolve/", count=None, status=401, headers=said)
    failed = catalogue.sync(fault=refused, **{SETTING: "4", SAMPLE: "1"})
    assert failed.code != 0, "the token is refused once all four have been asked for"
    assert asked(hub) == [1, 2, 3, 4]
    assert not capture_of(catalogue, DAYS[1]).details_complete
    assert catalogue.sync(**{SETTING: "4", SAMPLE: "1"}).code == 0
    assert asked(hub) == []
    assert read_files(hub) == ["model-1.Q4_K_M.gguf"] or read_files(hub) == ["model-1.Q8_0.gguf"]
    entry = capture_of(catalogue, DAYS[1]).verification
    assert (entry.answered, entry.requests, entry.last) == (4, 4, f"{4:024x}")


def test_only_what_the_details_leave_over_is_spent(catalogue, hub):
    hub.set_day(DAYS[3])
    assert catalogue.sync("--details", "3", **{SETTING: "100"}).code == 0
    assert asked(hub) == [7, 1, 2]
    hub.set_day(DAYS[4])
    assert catalogue.sync("--details", "none", **{SETTING: "100", SAMPLE: "3"}).code == 0
    assert (asked(hub), read_files(hub)) == ([], [])
    assert capture_of(catalogue, DAYS[4]).verification.last == f"{2:024x}", "the turn is where it was"


def test_the_dry_run_foresees_what_a_sync_then_asks_again(catalogue, hub):
    def parts(**environ: str) -> dict[str, tuple[int, int | None]]:
        told = catalogue.call("sync", "--dry-run", "--json", **environ).json
        return {part["name"]: (part["requests"], part["most"]) for part in told["expected_requests_by_part"]}

    assert not {"verification", "headers"} & parts(**{SETTING: "0"}).keys()
    assert (
        not {"verification", "headers"}
        & parts(**{SETTING: "9", SAMPLE: "9", "GGUF_SYNC__VALIDATION__ENABLE_FILE_VERIFICATION": "0"}).keys()
    )
    foreseen = parts(**{SETTING: "100", SAMPLE: "2"})
    assert foreseen["verification"] == (6, 100)
    assert foreseen["headers"] == (4, None), "one request each, and one more where the Hub redirects"
    assert catalogue.sync(**{SETTING: "100", SAMPLE: "2"}).code == 0
    assert (len(asked(hub)), len(read_files(hub))) == (6, 2)
    budget = {"GGUF_SYNC__SYNC_BEHAVIOR__DETAIL_REQUESTS_PER_RUN": "4"}
    hub.set_day(DAYS[2])
    assert parts(**{SETTING: "100"}, **budget)["verification"] == (4, 4)


def test_switched_off_nobody_is_asked_again(catalogue, hub):
    off = {"GGUF_SYNC__VALIDATION__ENABLE_FILE_VERIFICATION": "false"}
    assert catalogue.sync(**{SETTING: "9", SAMPLE: "9"}, **off).code == 0
    assert (asked(hub), read_files(hub)) == ([], [])
    assert evidence_of(capture_of(catalogue, DAYS[1]), 1) is None
    metadata = verification_metadata(capture_of(catalogue, DAYS[1]))
    assert (metadata["verified"], metadata["headers_read"]) == (0, 0)
    assert metadata["headers"].value == "No header was read."


def test_models_that_cannot_be_had_are_counted_and_no_finding(catalogue, hub):
    hub.faults[:] = [
        Fault(FaultKind.STATUS, f"model-{number}/revision/", count=None, status=status)
        for number, status in ((2, 404), (3, 403))
    ]
    try:
        assert catalogue.call("sync", **{SETTING: "4"}).code == 0
    finally:
        hub.faults.clear()
    entry = capture_of(catalogue, DAYS[1]).verification
    assert (entry.answered, entry.refused) == (2, 2)
    assert issues(catalogue, DAYS[1]) == []


def test_a_hub_that_is_out_of_reach_meanwhile_fails_no_day(catalogue, hub):
    fault = Fault(FaultKind.RESET, "/revision/", count=None)
    assert catalogue.sync(fault=fault, MAX_RETRIES="0", **{SETTING: "6"}).code == 0
    entry = capture_of(catalogue, DAYS[1]).verification
    assert (entry.answered, entry.stopped, entry.last) == (0, "failing", None)


def issues(catalogue: Catalogue, day: date) -> list[tuple[str, str | None, str | None]]:
    """The findings of the rules about evidence."""
    return [
        (row["rule"], row["path"], row["value"])
        for row in catalogue.rows("issues", day)
        if row["rule"].startswith(("file_facts_confirmed", "header_"))
    ]


def test_other_files_at_the_same_commit_are_findings(catalogue, hub):
    others = [gguf("model-2.Q4_K_M.gguf", size=4_000_000_001), gguf("new.Q2_K.gguf")]
    serve_second_day(hub, 2, files=others)
    assert catalogue.sync(**{SETTING: "100"}).code == 0
    found = issues(catalogue, DAYS[1])
    assert [(rule, path) for rule, path, _ in found] == [
        ("file_facts_confirmed", "model-2.Q8_0.gguf"),
        ("file_facts_confirmed", "new.Q2_K.gguf"),
        ("file_facts_confirmed", "model-2.Q4_K_M.gguf"),
    ]
    assert "catalogue: 4000000000 " in found[2][2] and "Hub: 4000000001 " in found[2][2]
    # The catalogue keeps what it knew: facts of a commit do not change.
    sizes = {row["path"]: row["size_bytes"] for row in catalogue.rows("files", DAYS[1]) if row["size_bytes"]}
    assert sizes["model-2.Q4_K_M.gguf"] == 4_000_000_000


def serve_second_day(hub: LoopbackHub, number: int, **fields: object) -> None:
    """Serve the second day with one repository changed under the same commit."""
    changed = [model(n, downloads=100 * n, **(fields if n == number else {})) for n in range(1, 7)]
    hub.source = WrittenHub({DAYS[0]: six(), DAYS[1]: changed})
    hub.set_day(DAYS[1])


@pytest.fixture(autouse=True)
def source_put_back(hub: LoopbackHub) -> Iterator[None]:
    source = hub.source
    yield
    hub.source = source


def test_headers_are_read_in_turn_and_agree_with_the_names(catalogue, hub):
    assert catalogue.sync(**{SETTING: "3", SAMPLE: "2"}).code == 0
    first = read_files(hub)
    capture = capture_of(catalogue, DAYS[1])
    evidence = evidence_of(capture, capture.details_files)
    assert [said.path for said in evidence.headers] == first
    assert {path.split(".")[0] for path in first} == {"model-1", "model-2"}
    for said in evidence.headers:
        facts = (said.architecture, said.context_length, said.parameter_count)
        assert facts == ("llama", 4096, 7_000_000)
        assert said.label in said.path, "the header says what the name says"
    assert issues(catalogue, DAYS[1]) == []
    before = data_of(catalogue, DAYS[1])
    hub.clear_requests()
    assert catalogue.call("rederive", "--from", str(DAYS[1])).code == 0
    assert not hub.requests, "what was read is stored"
    assert data_of(catalogue, DAYS[1]) == before
    hub.set_day(DAYS[2])
    assert catalogue.sync(**{SAMPLE: "2"}).code == 0
    second = read_files(hub)
    assert {path.split(".")[0] for path in second} == {"model-3", "model-4"}
    assert {path.split(".")[1] for path in first} != {path.split(".")[1] for path in second}
    metadata = verification_metadata(capture_of(catalogue, DAYS[2]))
    assert metadata["headers_read"] == 2
    assert "| llama | 7,000,000 | 4,096 |" in metadata["headers"].value


def test_a_lying_a_hostile_and_a_missing_header(catalogue, hub):
    serve_second_day(hub, 1, gguf={**FACTS, "architecture": "liar"})
    octets = {"content-type": "application/octet-stream"}
    huge = b"GGUF" + (3).to_bytes(4, "little") + (2**60).to_bytes(8, "little") * 2
    hostile = Fault(FaultKind.GARBAGE, "/model-2/resolve/", count=None, body=huge, headers=octets)
    gated = Fault(FaultKind.STATUS, "/model-3/resolve/", count=None, status=403)
    hub.faults[:] = [hostile, gated]
    hub.clear_requests()
    try:
        assert catalogue.call("sync", **{SAMPLE: "3"}).code == 0
    finally:
        hub.faults.clear()
    found = issues(catalogue, DAYS[1])
    assert [(rule, path.split(".")[0]) for rule, path, _ in found] == [
        ("header_unreadable", "model-2"),
        ("header_architecture_mismatch", "model-1"),
    ]
    assert "1,152,921,504,606,846,976 tensors" in found[0][2]
    assert found[1][2] == "Hub: llama; header: liar"
    metadata = verification_metadata(capture_of(catalogue, DAYS[1]))
    assert (metadata["headers_read"], metadata["headers_skipped"]) == (2, 1)

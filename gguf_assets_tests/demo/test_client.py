"""The loopback Hub, seen by huggingface_hub's own client."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from gguf_assets.demo.content import content
from gguf_assets_tests.hubs import DAY, gguf, hub_of, plain, repository

SMALL = gguf("sub folder/tiny Q4_K_M.gguf", 200_000)
FILES = [
    plain(".gitattributes", 1_519),
    plain("README.md", 2_000),
    SMALL,
    gguf("big.Q8_0.gguf", 70_000_000_000),
]
TOKEN = "hf_loopback"


@pytest.fixture(scope="module")
def hub():
    repositories = [
        repository("maker/model-GGUF", files=FILES, sha="a" * 40),
        repository("maker/gated-GGUF", gated="manual"),
        repository("maker/disabled-GGUF", disabled=True),
        repository("maker/private-GGUF", private=True),
        repository("maker/huge-GGUF", files=[gguf(f"part-{n:04d}.gguf", n + 1) for n in range(2_345)]),
    ]
    with hub_of(repositories, token=TOKEN) as hub:
        yield hub


@pytest.fixture(scope="module")
def api(hub):
    return HfApi(endpoint=hub.url, token=False)


def test_list_models_reads_every_field_it_asks_for(api):
    models = list(
        api.list_models(filter="gguf", sort="created_at", expand=["sha", "siblings", "gated", "createdAt"])
    )
    model = next(m for m in models if m.id == "maker/model-GGUF")
    assert len(models) == 4, "a private model is not listed"
    assert model.sha == "a" * 40
    assert [sibling.rfilename for sibling in model.siblings] == [file.path for file in FILES]
    assert model.created_at.isoformat() == "2025-06-28T00:00:00+00:00"


def test_an_unknown_expand_value_is_a_bad_request(api):
    with pytest.raises(BadRequestError, match="usedStorage"):
        list(api.list_models(expand=["usedStorage"]))


def test_model_info_has_sizes_and_checksums(api):
    info = api.model_info("maker/model-GGUF", files_metadata=True, securityStatus=True)
    found = {s.rfilename: (s.size, s.lfs.sha256 if s.lfs else None) for s in info.siblings}
    assert found == {file.path: (file.size, file.lfs) for file in FILES}
    assert info.siblings[3].lfs.pointer_size == len(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 70000000000\n"
    )


def test_model_info_is_pinned_to_known_commits_only(api):
    assert api.model_info("maker/model-GGUF", revision="a" * 40).sha == "a" * 40
    with pytest.raises(RevisionNotFoundError):
        api.model_info("maker/model-GGUF", revision="b" * 40)


def test_the_tree_pages_through_thousands_of_files(api, hub):
    hub.clear_requests()
    entries = list(api.list_repo_tree("maker/huge-GGUF", recursive=True))
    assert [entry.path for entry in entries] == [f"part-{n:04d}.gguf" for n in range(2_345)]
    assert entries[41].lfs.size == 42
    assert len(hub.requests) == 3


def test_the_tree_knows_folders(api):
    root = {entry.path for entry in api.list_repo_tree("maker/model-GGUF")}
    below = [entry.path for entry in api.list_repo_tree("maker/model-GGUF", "sub folder", expand=True)]
    assert root == {".gitattributes", "README.md", "sub folder", "big.Q8_0.gguf"}
    assert below == [SMALL.path]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("maker/model-GGUF", "nowhere"))


def test_paths_info_leaves_out_what_is_missing(api):
    found = api.get_paths_info("maker/model-GGUF", ["README.md", "nope", SMALL.path, "sub folder"])
    assert [entry.path for entry in found] == ["README.md", SMALL.path, "sub folder"]


def test_refs_and_commits_name_the_head(api):
    assert api.list_repo_refs("maker/model-GGUF").branches[0].target_commit == "a" * 40
    assert [commit.commit_id for commit in api.list_repo_commits("maker/model-GGUF")] == ["a" * 40]


def test_earlier_heads_stay_reachable_with_the_files_of_then():
    days = {
        DAY: [repository("o/m", hub_id="1" * 24, sha="1" * 40, files=[gguf("old.gguf")])],
        DAY + timedelta(days=1): [repository("o/m", hub_id="1" * 24, sha="2" * 40, files=[gguf("new.gguf")])],
    }
    with hub_of(days) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        assert [s.rfilename for s in api.model_info("o/m", revision="1" * 40).siblings] == ["old.gguf"]
        assert [commit.commit_id for commit in api.list_repo_commits("o/m")] == ["2" * 40, "1" * 40]
        hub.set_day(DAY)
        with pytest.raises(RevisionNotFoundError):
            api.model_info("o/m", revision="2" * 40)


def test_a_small_file_downloads_with_its_true_checksum(api, tmp_path):
    path = api.hf_hub_download("maker/model-GGUF", SMALL.path, cache_dir=tmp_path)
    data = Path(path).read_bytes()
    assert len(data) == SMALL.size
    assert hashlib.sha256(data).hexdigest() == SMALL.lfs
    readme = api.hf_hub_download("maker/model-GGUF", "README.md", cache_dir=tmp_path)
    report = api.verify_repo_checksums("maker/model-GGUF", cache_dir=tmp_path)
    assert readme and not report.mismatches


def test_ranges_give_the_same_bytes_as_the_whole(hub):
    whole = content(SMALL.key, SMALL.size)
    url = f"{hub.url}/maker/model-GGUF/resolve/main/sub%20folder/tiny%20Q4_K_M.gguf"
    for asked, start, stop in (("0-9", 0, 10), ("65530-65541", 65_530, 65_542), ("-5", 199_995, 200_000)):
        answer = httpx2.get(url, headers={"Range": f"bytes={asked}"})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/200000"
        assert answer.content == whole[start:stop]
    assert httpx2.get(url).content == whole
    assert httpx2.get(url, headers={"Range": "bytes=200000-"}).status_code == 416
    head = httpx2.head(url)
    assert (head.headers["content-length"], head.headers["x-repo-commit"]) == ("200000", "a" * 40)
    far = httpx2.get(
        f"{hub.url}/maker/model-GGUF/resolve/main/big.Q8_0.gguf", headers={"Range": "bytes=69999999990-"}
    )
    assert len(far.content) == 10


def test_the_bytes_of_gated_and_disabled_models_are_kept_back_their_metadata_is_not(api, tmp_path):
    assert api.model_info("maker/gated-GGUF").gated == "manual"
    assert api.model_info("maker/disabled-GGUF").disabled is True
    assert list(api.list_repo_tree("maker/gated-GGUF"))
    with pytest.raises(GatedRepoError):
        api.hf_hub_download("maker/gated-GGUF", "README.md", cache_dir=tmp_path)
    with pytest.raises(GatedRepoError):
        api.list_repo_commits("maker/gated-GGUF")
    with pytest.raises(DisabledRepoError):
        api.list_repo_commits("maker/disabled-GGUF")


def test_missing_and_private_models_look_the_same(api, hub):
    strangers = (api, HfApi(endpoint=hub.url, token=TOKEN))
    for stranger, status in zip(strangers, (401, 404), strict=True):
        for name in ("maker/private-GGUF", "maker/never-was"):
            with pytest.raises(RepositoryNotFoundError) as caught:
                stranger.model_info(name)
            assert caught.value.response.status_code == status


def test_a_wrong_token_is_told_so_and_a_right_one_knows_its_name(hub):
    wrong = HfApi(endpoint=hub.url, token="hf_wrong")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header"):
        wrong.model_info("maker/model-GGUF")
    assert HfApi(endpoint=hub.url, token=TOKEN).whoami()["name"] == "loopback"


def test_a_missing_file_and_a_missing_branch_are_named(api, tmp_path):
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("maker/model-GGUF", "nope.gguf", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        list(api.list_repo_tree("maker/model-GGUF", revision="refs/pr/1"))


@pytest.mark.recording
def test_a_recorded_day_is_listed_with_all_its_files(recording):
    import gzip

    import orjson

    from gguf_assets.demo.recording import RecordedHub
    from gguf_assets.demo.server import LoopbackHub

    source = RecordedHub(recording)
    day = source.days[0]
    with gzip.open(recording / f"{day}.jsonl.gz") as lines:
        recorded = {line["id"]: line for line in map(orjson.loads, lines)}
    with LoopbackHub(source, day=day) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        listed = {
            m.id: m for m in api.list_models(filter="gguf", sort="created_at", expand=["sha", "siblings"])
        }
        assert set(listed) == set(recorded)
        for name, line in recorded.items():
            assert listed[name].sha == line["sha"]
            assert [s.rfilename for s in listed[name].siblings] == [f["path"] for f in line["files"]]
        for name in list(recorded)[::100]:
            info = api.model_info(name, revision=recorded[name]["sha"], files_metadata=True)
            got = [(s.rfilename, s.size, s.lfs.sha256 if s.lfs else None) for s in info.siblings]
            assert got == [(f["path"], f["size"], f["lfs"]) for f in recorded[name]["files"]]

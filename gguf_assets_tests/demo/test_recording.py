"""Reading and writing recordings."""

from __future__ import annotations

import gzip
from datetime import date, timedelta

import httpx2
import orjson
import pytest

from gguf_assets.demo.generate import GeneratedHub, write_generated
from gguf_assets.demo.recording import RecordedHub, write_recording
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.demo.state import WrittenHub
from gguf_assets.errors import Refused
from gguf_assets_tests.hubs import DAY, gguf, plain, repository

LAST = date(2026, 3, 5)


@pytest.fixture(scope="module")
def generated():
    return GeneratedHub(seed=3, repositories=60, days=4, last_day=LAST)


def test_what_is_written_is_read_back_the_same(generated, tmp_path):
    write_recording(generated, tmp_path)
    recorded = RecordedHub(tmp_path)
    assert recorded.days == generated.days
    for day in generated.days:
        pairs = zip(generated.on(day).repositories, recorded.on(day).repositories, strict=True)
        for made, read in pairs:
            for field in made.__slots__:
                if field not in ("file_set", "author"):
                    assert getattr(made, field) == getattr(read, field), field
            assert (made.owner, made.files) == (read.owner, read.files)


def test_a_written_day_holds_the_documented_keys(tmp_path):
    files = [plain("README.md", 12), gguf("m.gguf", 5_000_000)]
    (path,) = write_recording(WrittenHub({DAY: [repository("o/m", files=files)]}), tmp_path)
    assert path.name == "2025-08-10.jsonl.gz"
    with gzip.open(path) as lines:
        (line,) = map(orjson.loads, lines)
    assert list(line) == [
        "_id",
        "id",
        "author",
        "sha",
        "createdAt",
        "lastModified",
        "downloads",
        "likes",
        "tags",
        "gated",
        "private",
        "disabled",
        "pipeline_tag",
        "library_name",
        "files",
    ]
    assert [(f["path"], f["size"], f["lfs"]) for f in line["files"]] == [
        ("README.md", 12, None),
        ("m.gguf", 5_000_000, files[1].lfs),
    ]


def test_equal_hubs_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_generated(GeneratedHub(seed=1, repositories=20, days=2, last_day=LAST), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["2026-03-04.jsonl.gz", "2026-03-05.jsonl.gz", "events.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_recording_answers_for_old_names_as_the_generated_hub_does(generated, tmp_path):
    write_generated(generated, tmp_path)
    written = orjson.loads((tmp_path / "events.json").read_bytes())
    before = [r.model_id for r in generated.on(generated.days[0]).repositories]
    answers = []
    for source in (generated, RecordedHub(tmp_path)):
        with LoopbackHub(source) as hub, httpx2.Client(base_url=hub.url) as client:
            found = [client.get(f"/api/models/{name}?blobs=true", follow_redirects=True) for name in before]
            answers.append([(a.status_code, a.json(), len(a.history)) for a in found])
    assert answers[0] == answers[1]
    assert {status for status, _, _ in answers[0]} == {200, 401}
    assert any(hops for _, _, hops in answers[0])
    assert [e["change"] for e in written[str(LAST)]] == [e.change for e in generated.events(LAST)]


@pytest.mark.parametrize("line", [b"no json", b"[]", b'{"_id": 1}', b'{"_id": "a", "id": "o/m"'])
def test_an_unreadable_line_is_refused_by_file_and_number(tmp_path, line):
    (path,) = write_recording(WrittenHub({DAY: [repository("o/m")]}), tmp_path)
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole + line + b"\n"))
    with pytest.raises(Refused, match=r"2025-08-10\.jsonl\.gz, line 2"):
        RecordedHub(tmp_path).on(DAY)


def test_a_cut_off_file_is_refused(tmp_path):
    (path,) = write_recording(WrittenHub({DAY: [repository("o/m")]}), tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Refused, match="cannot be read"):
        RecordedHub(tmp_path).on(DAY)


def test_a_folder_without_recorded_days_is_refused(tmp_path):
    (tmp_path / "notes.jsonl.gz").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(Refused, match="is no recorded Hub"):
            RecordedHub(folder)


def test_days_are_read_only_when_asked_for(tmp_path):
    days = {DAY: [repository("o/m")], DAY + timedelta(days=1): [repository("o/m")]}
    paths = write_recording(WrittenHub(days), tmp_path)
    paths[1].write_bytes(b"broken")
    hub = RecordedHub(tmp_path)
    assert len(hub.on(DAY).repositories) == 1
    with pytest.raises(Refused):
        hub.on(DAY + timedelta(days=1))

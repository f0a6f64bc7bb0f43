"""Absent is not removed: what the Hub's answers prove, and what they do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pyarrow as pa
import pytest

from gguf_assets.catalogue.absence import absent_models, judge_absences
from gguf_assets_tests.catalogue.days import Answer, hub_id, row

NOON = datetime(2025, 8, 10, 12, tzinfo=UTC)


def answered(number, status=200, **info):
    """The answer to asking for a model by name; with status 200 its listing row, changed by `info`."""
    body = orjson.dumps(row(number, **info)) if status == 200 else None
    return Answer(hub_id(number), row(number)["id"], "", status, body)


def judged(*answers, trusted=True, anonymous=True):
    return judge_absences(answers, trusted=trusted, anonymous=anonymous)


@pytest.mark.parametrize(
    ("status", "anonymous", "gone"),
    [
        (404, True, True),
        (404, False, True),
        (401, True, True),
        (401, False, False),
        *((status, True, False) for status in (400, 403, 410, 451)),
    ],
)
def test_only_not_found_and_an_anonymous_401_say_that_a_model_is_gone(status, anonymous, gone):
    absences = judged(answered(1, status), anonymous=anonymous)
    assert absences.gone == ({hub_id(1): "deleted or private"} if gone else {})
    assert absences.there.num_rows == 0


def test_nothing_proves_a_removal_when_the_control_did_not_answer():
    other = answered(3, _id=hub_id(9))
    absences = judged(answered(1, 404), answered(2, tags=["x"], siblings=[]), other, trusted=False)
    assert absences.gone == {}


def test_a_model_that_answers_is_there_whatever_the_control_did():
    for trusted in (True, False):
        absences = judged(answered(1, downloads=7), trusted=trusted)
        assert absences.gone == {}
        assert absences.there.select(["hub_id", "downloads"]).to_pylist() == [
            {"hub_id": hub_id(1), "downloads": 7}
        ]


def test_a_redirect_to_the_same_repository_is_a_new_name_and_to_another_one_a_removal():
    absences = judged(answered(1, id="new/name"), answered(2, _id=hub_id(9), id="somebody/else"))
    assert absences.there["model_id"].to_pylist() == ["new/name"]
    assert absences.gone == {hub_id(2): "its name leads to another repository"}


@pytest.mark.parametrize(
    ("info", "gguf"),
    [
        ({"tags": ["transformers"], "siblings": [{"rfilename": "model.safetensors"}]}, False),
        ({"tags": [], "siblings": []}, False),
        ({"tags": ["gguf"], "siblings": []}, True),
        ({"tags": ["x"], "siblings": [{"rfilename": "a/B.GGUF"}]}, True),
    ],
)
def test_a_repository_without_tag_and_file_is_no_longer_gguf(info, gguf):
    absences = judged(answered(1, **info))
    assert absences.gone == ({} if gguf else {hub_id(1): "no longer gguf"})
    assert absences.there.num_rows == gguf


def test_an_answer_that_cannot_be_read_proves_nothing_and_spoils_no_other():
    strange = Answer(hub_id(1), "a/b", "", 200, b'{"_id": "nonsense", "id": 5, "tags": ["gguf"]}')
    unreadable = answered(2, tags=["gguf", 7], siblings=None)
    absences = judged(strange, unreadable, answered(3))
    assert absences.there["hub_id"].to_pylist() == [hub_id(3)]
    assert hub_id(2) not in absences.gone
    assert {finding.rule for finding in absences.findings} == {"hub_id_invalid", "wrong_type"}


def baseline(*rows):
    """Rows of (number, hours since it was seen, downloads)."""
    return pa.table(
        {
            "hub_id": [hub_id(number) for number, _, _ in rows],
            "model_id": [row(number)["id"] for number, _, _ in rows],
            "observed_at": [NOON - timedelta(hours=hours) for _, hours, _ in rows],
            "downloads": [downloads for _, _, downloads in rows],
        }
    )


def asked_after(known, listed, names=()):
    names = [*(row(number)["id"] for number in listed), *names]
    ids = pa.array([hub_id(number) for number in listed], pa.string())
    return absent_models(known, ids, pa.array(names, pa.string()))["hub_id"].to_pylist()


def test_who_was_seen_longest_ago_is_asked_after_first_then_who_is_popular():
    known = baseline((1, 24, 5), (2, 24, 9), (3, 48, 0), (4, 24, None), (5, 24, 9))
    assert asked_after(known, []) == [hub_id(n) for n in (3, 2, 5, 1, 4)]


def test_who_is_listed_or_has_lost_its_name_is_not_asked_after():
    known = baseline((1, 24, 5), (2, 24, 9), (3, 24, 1))
    assert asked_after(known, [1]) == [hub_id(2), hub_id(3)]
    assert asked_after(known, [1], [row(2)["id"].upper()]) == [hub_id(3)]

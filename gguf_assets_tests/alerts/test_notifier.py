from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta

import pytest

from gguf_assets.alerts.alert import STATE_FILE, ChannelError, Severity, Told
from gguf_assets.alerts.notifier import Notifier
from gguf_assets_tests.alerts.telling import Remembering, an_alert, at

ON = dict.fromkeys(Severity, True)


@pytest.fixture
def notifier_of(tmp_path):
    """Makes notifiers that share a state file, as the processes of one machine do."""

    def make(*channels, **options):
        values = {"cooldown": timedelta(seconds=300), "switches": ON, "pause": lambda seconds: None}
        return Notifier(channels, tmp_path / "alerts.json", **{**values, **options})

    return make


def state_of(tmp_path):
    return json.loads((tmp_path / "alerts.json").read_text())


def test_a_condition_is_told_once_within_the_cooldown_and_taken_back_once(notifier_of):
    a, b = Remembering("a"), Remembering("b")
    notifier = notifier_of(a, b)
    assert notifier.raise_alert(an_alert(), at(0)) == Told(sent=("a", "b"))
    assert notifier.raise_alert(an_alert(), at(120)) == Told(suppressed="told 120 s ago")
    assert notifier.end_condition("sync_failed", at(200), text="Published again.") == Told(sent=("a", "b"))
    assert notifier.end_condition("sync_failed", at(201), text="x") == Told(suppressed="nobody was told")
    told, over = a.got
    assert (told[0], told[1]) == (an_alert(), False)
    assert over[1] is True
    assert (over[0].condition, over[0].severity) == ("sync_failed", Severity.SUCCESS)
    assert (over[0].title, over[0].text) == (an_alert().title, "Published again.")
    assert over[0].facts == {"From": "2026-03-01 02:30 UTC", "To": "2026-03-01 02:33 UTC"}
    assert over[0].url == an_alert().url
    assert b.titles == a.titles


def test_conditions_do_not_silence_each_other(notifier_of):
    notifier = notifier_of(a := Remembering())
    notifier.raise_alert(an_alert(), at(0))
    notifier.raise_alert(an_alert("catalogue_stale", title="Stale"), at(0))
    notifier.end_condition("catalogue_stale", at(1), text="x")
    assert a.titles == [an_alert().title, "Stale", "over: Stale"]


def test_what_is_remembered_survives_the_process(notifier_of):
    notifier_of(Remembering()).raise_alert(an_alert(), at(0))
    assert notifier_of(Remembering()).raise_alert(an_alert(), at(10)).suppressed == "told 10 s ago"
    assert notifier_of(a := Remembering()).end_condition("sync_failed", at(20), text="x").sent == ("a",)
    assert a.titles == [f"over: {an_alert().title}"]


def test_reminders_come_at_distances_that_double_up_to_less_than_a_day(notifier_of):
    notifier = notifier_of(a := Remembering())
    minutes = [*range(0, 700, 5), *range(720, 6000, 20)]
    told = [minute for minute in minutes if notifier.raise_alert(an_alert(), at(60 * minute)).sent]
    assert told[:8] == [0, 5, 15, 35, 75, 155, 315, 635]
    assert {later - sooner for sooner, later in itertools.pairwise(told[9:])} == {1200}
    assert a.got[1][0].facts["Raised"] == "2 times since 2026-03-01 02:30 UTC"
    assert a.got[2][0].facts["Raised"] == "4 times since 2026-03-01 02:30 UTC"


def test_what_fails_daily_is_told_daily(notifier_of):
    notifier = notifier_of(Remembering())
    jitter = [0, 900, -900, 60, 0, 1800, -600, 0, 0, 30, -30, 0, 0, 1200, -1200, 0, 7, -7, 0, 0]
    days = [at(86_400 * day + jitter[day]) for day in range(20)]
    assert all(notifier.raise_alert(an_alert(), day).sent for day in days)


def test_a_warning_that_lasts_is_told_once_a_week(notifier_of):
    notifier = notifier_of(Remembering())
    warning = an_alert("check:labels", Severity.WARNING)
    told = [day for day in range(30) if notifier.raise_alert(warning, at(86_400 * day)).sent]
    assert told[:2] == [0, 7]
    assert all(later - sooner >= 7 for sooner, later in itertools.pairwise(told))
    notifier.end_condition("check:labels", at(86_400 * 30), text="x")
    assert notifier.raise_alert(warning, at(86_400 * 31)).sent, "it has come back"


def test_reminders_begin_anew_with_the_next_time(notifier_of):
    notifier = notifier_of(Remembering())
    for seconds in (0, 300, 900, 2100):
        assert notifier.raise_alert(an_alert(), at(seconds)).sent
    notifier.end_condition("sync_failed", at(2200), text="x")
    assert notifier.raise_alert(an_alert(), at(2400)).sent
    assert notifier.raise_alert(an_alert(), at(2700)).sent


def test_a_condition_that_comes_and_goes_is_told_once_within_the_cooldown(notifier_of):
    notifier = notifier_of(a := Remembering())
    for seconds in range(0, 300, 10):
        notifier.raise_alert(an_alert(), at(seconds))
        notifier.end_condition("sync_failed", at(seconds + 5), text="x")
    assert a.titles == [an_alert().title, f"over: {an_alert().title}"]
    assert notifier.raise_alert(an_alert(), at(300)).sent


def test_a_condition_that_gets_worse_is_told_at_once_and_only_once(notifier_of):
    notifier = notifier_of(a := Remembering())
    severities = "warning warning failure warning failure critical critical failure".split()
    told = [
        bool(notifier.raise_alert(an_alert(severity=Severity(severity)), at(second)).sent)
        for second, severity in enumerate(severities)
    ]
    assert told == [True, False, True, False, False, True, False, False]
    notifier.end_condition("sync_failed", at(10), text="x")
    assert not notifier.raise_alert(an_alert(severity=Severity.CRITICAL), at(11)).sent
    assert len(a.got) == 4


def test_a_condition_that_swings_is_reminded_of_and_no_more(notifier_of):
    notifier = notifier_of(Remembering())
    told = [
        seconds
        for seconds in range(0, 3600, 10)
        if notifier.raise_alert(
            an_alert(severity=Severity.WARNING if seconds % 300 == 0 and seconds else Severity.FAILURE),
            at(seconds),
        ).sent
    ]
    assert told == [0, 300, 900, 2100]


def test_worse_after_long_warnings_is_not_held_back_by_their_distance(notifier_of):
    notifier = notifier_of(Remembering())
    for hour in range(24):
        notifier.raise_alert(an_alert(severity=Severity.WARNING), at(3600 * hour))
    assert notifier.raise_alert(an_alert(), at(24 * 3600)).sent
    assert notifier.raise_alert(an_alert(), at(24 * 3600 + 300)).sent


def test_told_from_the_threshold_on_and_counted_in_a_row(notifier_of):
    notifier = notifier_of(a := Remembering(), threshold=3)
    assert notifier.raise_alert(an_alert(), at(0)).suppressed == "raised 1 of 3 times in a row"
    assert notifier.raise_alert(an_alert(), at(86400)).suppressed == "raised 2 of 3 times in a row"
    assert notifier.end_condition("sync_failed", at(90000), text="x").suppressed == "nobody was told"
    for day in (2, 3):
        assert not notifier.raise_alert(an_alert(), at(86400 * day)).sent
    assert notifier.raise_alert(an_alert(), at(86400 * 4)).sent == ("a",)
    assert a.got[0][0].facts["Raised"] == "3 times since 2026-03-03 02:30 UTC"
    assert notifier.end_condition("sync_failed", at(86400 * 5), text="x").sent == ("a",)


@pytest.mark.parametrize("severity", list(Severity))
def test_each_severity_obeys_its_switch(notifier_of, severity):
    off = notifier_of(a := Remembering(), switches={**ON, severity: False})
    for other in Severity:
        told = off.raise_alert(an_alert(f"c {other}", other), at(0))
        noted = off.note(an_alert(f"n {other}", other), at(0))
        expected = f"`{severity}` is switched off" if other is severity else None
        assert (told.suppressed, noted.suppressed) == (expected, expected)
    assert len(a.got) == 6


def test_what_was_told_is_taken_back_whatever_the_switches_say_now(notifier_of):
    notifier_of(Remembering()).raise_alert(an_alert(), at(0))
    silent = notifier_of(a := Remembering(), switches=dict.fromkeys(Severity, False))
    assert silent.end_condition("sync_failed", at(1), text="x").sent == ("a",)
    assert a.titles == [f"over: {an_alert().title}"]


def test_a_note_is_told_each_time_to_whoever_takes_notes(notifier_of):
    notifier = notifier_of(a := Remembering("a"), b := Remembering("b", takes_notes=False))
    success = an_alert("sync_succeeded", Severity.SUCCESS)
    assert [notifier.note(success, at(0)).sent for _ in range(2)] == [("a",), ("a",)]
    assert len(a.got) == 2
    assert b.got == []
    assert notifier_of(b).note(success, at(0)).suppressed == "no channel takes notes"


def test_without_channels_nothing_is_told(notifier_of):
    assert notifier_of().raise_alert(an_alert(), at(0)) == Told(suppressed="no channel is set up")
    assert notifier_of().note(an_alert(), at(0)) == Told(suppressed="no channel is set up")
    assert notifier_of().end_condition("sync_failed", at(1), text="x").suppressed == "nobody was told"


def test_only_those_who_were_told_hear_that_it_is_over(notifier_of):
    a, b, c = Remembering("a"), Remembering("b"), Remembering("c")
    b.broken = "no"
    notifier_of(a, b).raise_alert(an_alert(), at(0))
    b.broken = None
    assert notifier_of(a, b, c).end_condition("sync_failed", at(1), text="x").sent == ("a",)
    assert (b.got, c.got) == ([], [])


def test_nobody_hears_of_the_end_where_the_channel_is_gone(notifier_of):
    notifier_of(Remembering("a")).raise_alert(an_alert(), at(0))
    assert notifier_of(b := Remembering("b")).end_condition("sync_failed", at(1), text="x").sent == ()
    assert b.got == []


def test_a_broken_channel_is_tried_twice_hurts_no_other_and_is_reported(notifier_of, tmp_path):
    a, b = Remembering("a"), Remembering("b")
    a.broken = "a answered 500"
    notifier = notifier_of(a, b)
    assert notifier.raise_alert(an_alert(), at(0)) == Told(sent=("b",), failed={"a": "a answered 500"})
    assert (a.tries, b.tries) == (2, 1)
    assert notifier.channel_problems()["a"].reason == "a answered 500"
    assert notifier.channel_problems()["a"].since == at(0)
    a.broken = "a answered 503"
    notifier.raise_alert(an_alert("other"), at(50))
    problems = notifier_of(a, b).channel_problems()
    assert list(problems) == ["a"]
    assert (problems["a"].reason, problems["a"].since) == ("a answered 503", at(0))
    assert notifier_of(b).channel_problems() == {}
    a.broken = None
    notifier.note(an_alert(), at(60))
    assert notifier.channel_problems() == {}
    assert state_of(tmp_path)["channels"] == {}


def test_a_channel_that_works_at_the_second_try_is_no_problem(notifier_of):
    class Stumbling(Remembering):
        def send(self, alert, *, over):
            self.broken = "once" if self.tries == 0 else None
            super().send(alert, over=over)

    pauses = []
    notifier = notifier_of(Stumbling(), pause=pauses.append)
    assert notifier.raise_alert(an_alert(), at(0)) == Told(sent=("a",))
    assert pauses == [0.5]
    assert notifier.channel_problems() == {}


def test_who_missed_it_gets_it_after_the_cooldown_without_reminding_the_others(notifier_of):
    a, b = Remembering("a"), Remembering("b")
    notifier = notifier_of(a, b)
    notifier.raise_alert(an_alert(), at(0))
    notifier.raise_alert(an_alert(), at(300))  # the next reminder is due at 900
    c = Remembering("c")
    wider = notifier_of(a, b, c)
    assert wider.raise_alert(an_alert(), at(400)).suppressed == "told 100 s ago"
    assert wider.raise_alert(an_alert(), at(600)).sent == ("c",)
    assert wider.raise_alert(an_alert(), at(900)).sent == ("a", "b", "c")


def test_nobody_could_be_told_so_it_is_tried_again_after_the_cooldown(notifier_of):
    notifier = notifier_of(a := Remembering())
    a.broken = "no"
    assert notifier.raise_alert(an_alert(), at(0)).failed == {"a": "no"}
    assert notifier.raise_alert(an_alert(), at(100)).suppressed == "tried 100 s ago"
    assert a.tries == 2
    assert notifier.end_condition("sync_failed", at(110), text="x").suppressed == "nobody was told"
    notifier.raise_alert(an_alert(), at(120))
    a.broken = None
    assert notifier.raise_alert(an_alert(), at(300)).sent == ("a",)
    assert notifier.end_condition("sync_failed", at(310), text="x").sent == ("a",)


def test_a_worse_alert_that_reached_nobody_is_tried_again_after_the_cooldown(notifier_of):
    notifier = notifier_of(a := Remembering())
    for hour in range(12):
        notifier.raise_alert(an_alert(severity=Severity.WARNING), at(3600 * hour))
    a.broken = "no"
    notifier.raise_alert(an_alert(), at(12 * 3600))
    tries = a.tries
    assert not notifier.raise_alert(an_alert(), at(12 * 3600 + 1)).sent
    assert a.tries == tries
    a.broken = None
    assert notifier.raise_alert(an_alert(), at(12 * 3600 + 300)).sent


def test_the_end_that_could_not_be_told_is_told_later_and_once(notifier_of):
    notifier = notifier_of(a := Remembering("a"), b := Remembering("b"))
    notifier.raise_alert(an_alert(), at(0))
    b.broken = "no"
    assert notifier.end_condition("sync_failed", at(10), text="x") == Told(sent=("a",), failed={"b": "no"})
    b.broken = None
    assert notifier.end_condition("sync_failed", at(20), text="x").suppressed == "told 20 s ago"
    assert notifier.end_condition("sync_failed", at(310), text="x").sent == ("b",)
    assert notifier.end_condition("sync_failed", at(900), text="x").suppressed == "nobody was told"
    assert a.titles == b.titles


def test_an_end_that_cannot_be_told_is_not_tried_each_time(notifier_of):
    notifier = notifier_of(a := Remembering())
    notifier.raise_alert(an_alert(), at(0))
    a.broken = "no"
    for seconds in range(1000, 1300, 10):
        notifier.end_condition("sync_failed", at(seconds), text="x")
    assert a.tries == 1 + 2
    notifier.end_condition("sync_failed", at(1300), text="x")
    assert a.tries == 1 + 2 + 2


def test_a_fault_in_a_channel_is_a_broken_channel(notifier_of, caplog):
    class Faulty(Remembering):
        def send(self, alert, *, over):
            raise KeyError("hf_" + "a" * 34)

    told = notifier_of(Faulty("a"), Remembering("b")).raise_alert(an_alert(), at(0))
    assert told == Told(sent=("b",), failed={"a": "failed unexpectedly (KeyError)"})
    assert "aaaa" not in caplog.text


def test_a_channel_that_never_comes_back_is_left_behind(notifier_of):
    stop = threading.Event()

    class Hanging(Remembering):
        def send(self, alert, *, over):
            super().send(alert, over=over)
            stop.wait(20)
            raise ChannelError("too late")

    slow = Hanging("a")
    began = time.monotonic()
    told = notifier_of(slow, Remembering("b"), patience_seconds=0.3).raise_alert(an_alert(), at(0))
    assert time.monotonic() - began < 5
    assert told.sent == ("b",)
    assert re.fullmatch(r"did not finish within 0\.\d s", told.failed["a"])
    stop.set()
    time.sleep(0.1)
    assert slow.tries == 1


def test_the_reason_of_the_first_try_is_kept_where_the_second_does_not_end(notifier_of):
    stop = threading.Event()

    class Slowing(Remembering):
        def send(self, alert, *, over):
            if self.tries:
                stop.wait(20)
            self.broken = "a answered 500"
            super().send(alert, over=over)

    told = notifier_of(Slowing("a"), patience_seconds=0.3).raise_alert(an_alert(), at(0))
    stop.set()
    assert told.failed == {"a": "a answered 500"}


def test_a_clock_that_was_set_back_silences_for_one_cooldown_at_most(notifier_of):
    notifier = notifier_of(Remembering())
    notifier.raise_alert(an_alert(), at(10_000_000))
    assert notifier.raise_alert(an_alert(), at(0)).suppressed == "told 0 s ago"
    assert notifier.raise_alert(an_alert(), at(299)).suppressed == "told 299 s ago"
    assert notifier.raise_alert(an_alert(), at(300)).sent


def test_a_clock_that_leaps_ahead_tells_again_and_ends_well(notifier_of):
    notifier = notifier_of(a := Remembering())
    notifier.raise_alert(an_alert(), at(0))
    assert notifier.raise_alert(an_alert(), at(1_000_000_000)).sent
    assert notifier.end_condition("sync_failed", at(0), text="x").sent
    assert len(a.got) == 3


def test_a_time_without_a_zone_is_taken_as_utc(notifier_of):
    notifier = notifier_of(Remembering())
    assert notifier.raise_alert(an_alert(), datetime(2026, 3, 1, 2, 30)).sent
    assert notifier.raise_alert(an_alert(), at(5)).suppressed == "told 5 s ago"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"version": 2}',
        b'{"version": 1, "conditions": {"a": 1}, "channels": {}}',
        b'{"version": 1, "conditions": {}, "channels": {"a": {"reason": "x", "since": "yesterday"}}}',
        b'{"version": 1, "conditions": [], "channels": {}}',
    ],
)
def test_a_damaged_state_is_begun_anew_with_a_warning(notifier_of, tmp_path, caplog, content):
    (tmp_path / "alerts.json").write_bytes(content)
    notifier = notifier_of(Remembering())
    assert notifier.channel_problems() == {}
    if content != b"null":
        assert "The alerts are remembered anew" in caplog.text
    assert notifier.raise_alert(an_alert(), at(0)) == Told(sent=("a",))
    assert notifier.raise_alert(an_alert(), at(1)).suppressed == "told 1 s ago"
    assert state_of(tmp_path)["version"] == 1


@pytest.mark.parametrize("obstacle", ["a folder is a file", "the file is a folder"])
def test_a_disk_that_refuses_costs_no_alert_and_no_cooldown(tmp_path, obstacle):
    path = tmp_path / "state" / "alerts.json"
    if obstacle == "a folder is a file":
        path.parent.write_text("in the way")
    else:
        path.mkdir(parents=True)
    notifier = Notifier([a := Remembering()], path, cooldown=timedelta(seconds=300), switches=ON)
    told = notifier.raise_alert(an_alert(), at(0))
    assert told.sent == ("a",)
    assert list(told.failed) == [STATE_FILE]
    assert str(tmp_path) in told.failed[STATE_FILE]
    again = notifier.raise_alert(an_alert(), at(10))
    assert (again.sent, again.suppressed) == ((), "told 10 s ago")
    assert len(a.got) == 1
    if obstacle == "a folder is a file":
        path.parent.unlink()
    else:
        path.rmdir()
    assert notifier.end_condition("sync_failed", at(20), text="x") == Told(sent=("a",))
    assert json.loads(path.read_text())["conditions"]["sync_failed"]["told"] == []


def test_a_full_disk_costs_no_alert_and_no_cooldown(notifier_of, monkeypatch):
    notifier = notifier_of(Remembering())
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "full")))
    told = notifier.raise_alert(an_alert(), at(0))
    assert told.sent == ("a",)
    assert told.failed[STATE_FILE].endswith("No space left on device")
    assert notifier.raise_alert(an_alert(), at(10)).suppressed == "told 10 s ago"


def test_another_process_that_holds_the_state_for_ever_is_not_waited_for(notifier_of, tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / "alerts.json.lock"):
        notifier = notifier_of(Remembering(), patience_seconds=1)
        told = notifier.raise_alert(an_alert(), at(0))
    assert list(told.failed)[-1] == STATE_FILE
    assert "another process has held" in told.failed[STATE_FILE]


TELLING = """
import sys
from datetime import timedelta
from pathlib import Path
from gguf_assets.alerts.alert import Severity
from gguf_assets.alerts.notifier import Notifier
from gguf_assets_tests.alerts.telling import Remembering, an_alert, at

notifier = Notifier([Remembering()], Path(sys.argv[1]), cooldown=timedelta(seconds=300), switches={})
print("ready", flush=True)
sys.stdin.readline()
print(len(notifier.raise_alert(an_alert(), at(0)).sent), flush=True)
sys.stdin.readline()
print(len(notifier.end_condition("sync_failed", at(1), text="x").sent), flush=True)
"""


def test_processes_that_raise_and_end_the_same_condition_at_once_tell_once(tmp_path):
    command = [sys.executable, "-c", TELLING, str(tmp_path / "alerts.json")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]

    def all_at_once(answer=""):
        said = [process.stdout.readline().strip() for process in processes]
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return said

    try:
        assert all_at_once() == ["ready"] * 3
        assert sorted(all_at_once()) == ["0", "0", "1"]
        assert sorted(process.stdout.readline().strip() for process in processes) == ["0", "0", "1"]
    finally:
        for process in processes:
            process.communicate(timeout=20)


def test_threads_that_raise_the_same_condition_at_once_tell_once(notifier_of):
    a = Remembering()
    start = threading.Barrier(8)

    def tell():
        start.wait()
        notifier_of(a).raise_alert(an_alert(), at(0))

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(a.got) == 1


def test_what_is_over_is_forgotten_and_the_rest_is_bounded(notifier_of, tmp_path):
    notifier = notifier_of(Remembering())
    notifier.raise_alert(an_alert(), at(0))
    notifier.end_condition("sync_failed", at(1), text="x")
    notifier.raise_alert(an_alert("other"), at(300))
    assert list(state_of(tmp_path)["conditions"]) == ["other"]


def test_secrets_reach_no_channel_and_no_file(notifier_of, tmp_path):
    secret = "hf_" + "q" * 34
    alert = an_alert(
        f"check:{secret}",
        title=secret,
        text=f"x {secret}",
        remedy=secret,
        facts={secret: secret},
        url=f"https://me:{secret}@host/",
    )
    a = Remembering()
    a.broken = None
    b = Remembering("b")
    b.broken = f"https://hooks.slack.com/services/{secret}"
    notifier = notifier_of(a, b)
    told = notifier.raise_alert(alert, at(0))
    over = notifier.end_condition(f"check:{secret}", at(1), text=secret)
    everything = (
        f"{a.got} {told} {over} {notifier.channel_problems()} {(tmp_path / 'alerts.json').read_text()}"
    )
    assert over.sent == ("a",)
    assert "qqqq" not in everything

"""What holds for the notifier whatever happens in whatever order."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.alerts.alert import Severity
from gguf_assets.alerts.notifier import Notifier
from gguf_assets_tests.alerts.telling import Remembering, an_alert, at

COOLDOWN = 300
CONDITIONS = ("sync_failed", "catalogue_stale")

steps = st.lists(
    st.tuples(
        st.sampled_from(["raise", "raise", "raise", "end", "end", "restart", "break", "mend"]),
        st.sampled_from(CONDITIONS),
        st.sampled_from([Severity.WARNING, Severity.FAILURE, Severity.CRITICAL]),
        st.sampled_from([0, 1, 60, 150, 299, 300, 301, 700, 5000, 90_000]),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return (tmp_path_factory.mktemp("state") for _ in itertools.count())


@settings(max_examples=100)
@given(steps=steps, threshold=st.integers(1, 3), only=st.sampled_from([None, Severity.FAILURE]))
def test_no_storm_and_one_note_for_all_that_was_told_and_ended(folders, steps, threshold, only):
    reliable, fragile = Remembering("reliable"), Remembering("fragile")
    state_file = next(folders) / "alerts.json"

    def start() -> Notifier:
        return Notifier(
            [reliable, fragile],
            state_file,
            cooldown=timedelta(seconds=COOLDOWN),
            switches={},
            threshold=threshold,
            pause=lambda seconds: None,
        )

    notifier, clock = start(), 0
    tells: dict[str, list[tuple[int, int]]] = {condition: [] for condition in CONDITIONS}
    row = dict.fromkeys(CONDITIONS, 0)
    believed: dict[str, bool] = dict.fromkeys(CONDITIONS, False)
    for action, condition, drawn, passed in steps:
        severity = only or drawn
        clock += passed
        seen = len(reliable.got)
        if action == "raise":
            row[condition] += 1
            notifier.raise_alert(an_alert(condition, severity), at(clock))
            new = reliable.got[seen:]
            if new:
                assert [over for _, over in new] == [False]
                assert row[condition] >= threshold
                # Never twice within the cool-down, unless it got worse than anything told in it.
                recent = [rank for when, rank in tells[condition] if clock - when < COOLDOWN]
                assert all(severity.rank > rank for rank in recent)
                tells[condition].append((clock, severity.rank))
                believed[condition] = True
            elif row[condition] == threshold and not tells[condition]:
                raise AssertionError("the first one that counts was not told")
        elif action == "end":
            notifier.end_condition(condition, at(clock), text="over")
            assert [over for _, over in reliable.got[seen:]] == [True] * believed[condition]
            believed[condition] = False
            row[condition] = 0
        elif action == "restart":
            notifier = start()
        else:
            fragile.broken = "no" if action == "break" else None
    # In the end everybody who was told has heard of the end, once for each time.
    fragile.broken = None
    for later in (0, COOLDOWN):
        for condition in CONDITIONS:
            notifier.end_condition(condition, at(clock + later), text="over")
    for channel in (reliable, fragile):
        for condition in CONDITIONS:
            overs = [over for alert, over in channel.got if alert.condition == condition]
            assert not overs or (overs[0] is False and overs[-1] is True)
            assert (True, True) not in itertools.pairwise(overs)

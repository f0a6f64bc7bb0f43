"""The retry policy: pauses, their bounds, when there is no further try; and what is never tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_assets.errors import PermanentError
from gguf_assets.hub.client import HubClient
from gguf_assets.hub.retries import RetryPolicy
from gguf_assets_tests.hub.scripted import FakeTime, Reply, ScriptedHub, limits

USUAL = RetryPolicy(max_retries=5, base=2.0, growing=True, jitter=False)

POLICIES = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 20),
    base=st.floats(1.0, 10.0),
    growing=st.booleans(),
    jitter=st.booleans(),
)
LUCK = st.floats(0.0, 1.0)


def test_growing_pauses_double_up_to_a_minute():
    policy = RetryPolicy(max_retries=8, base=2.0, growing=True, jitter=False)
    pauses = [policy.pause(failed, luck=1.0) for failed in range(1, 10)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, None]


def test_pauses_that_do_not_grow_are_the_base():
    policy = RetryPolicy(max_retries=2, base=3.0, growing=False, jitter=False)
    assert [policy.pause(failed, luck=1.0) for failed in (1, 2, 3)] == [3.0, 3.0, None]


@pytest.mark.parametrize(("luck", "seconds"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_jitter_shortens_by_at_most_half(luck, seconds):
    policy = RetryPolicy(max_retries=5, base=2.0, growing=True, jitter=True)
    assert policy.pause(3, luck=luck) == seconds


@pytest.mark.parametrize(
    ("asked", "quota", "seconds"),
    [
        (None, 0.0, 1.0),
        (7.0, 0.0, 7.0),
        (0.0, 0.0, 1.0),
        (7.0, 9.0, 9.0),
        (3600.0, 0.0, 3600.0),
        (3601.0, 0.0, None),
        (None, 3601.0, None),
    ],
)
def test_the_longest_of_pause_hub_and_quota_counts_and_more_than_an_hour_is_not_waited_for(
    asked, quota, seconds
):
    assert USUAL.pause(1, luck=1.0, asked=asked, quota=quota) == seconds


@given(POLICIES, st.integers(1, 10_000), LUCK, st.none() | st.floats(0, 10_000), st.floats(0, 10_000))
def test_whatever_happens_tries_end_and_pauses_stay_within_bounds(policy, failed, luck, asked, quota):
    pause = policy.pause(failed, luck=luck, asked=asked, quota=quota)
    if failed > policy.max_retries or (asked or 0.0) > 3600 or quota > 3600:
        assert pause is None
    else:
        assert pause is not None
        assert (asked or 0.0) <= pause <= 3600
        assert pause >= quota
        assert pause <= max(60.0, asked or 0.0, quota)


@given(POLICIES.filter(lambda policy: policy.growing), LUCK)
def test_growing_pauses_never_get_shorter(policy, luck):
    pauses = [policy.backoff(failed, luck) for failed in range(1, 400)]
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 414, 416, 422, 451])
@pytest.mark.parametrize("token", [None, "hf_tokenTokenToken"])
def test_a_permanent_error_costs_one_request_and_no_pause(status, token):
    fake = FakeTime()
    with (
        ScriptedHub([Reply(b"{}", status=status, headers=(("Retry-After", "5"),))]) as hub,
        HubClient(hub.url, token=token, limits=limits(), **fake.hooks) as client,
    ):
        with pytest.raises(PermanentError):
            client.get("/api/models")
        assert len(hub.requests) == client.requests == 1
        assert client.retries == 0
    assert fake.slept == []
    assert client.waited_seconds == 0.0


def test_what_was_waited_is_told():
    fake = FakeTime()
    script = [Reply(status=500), Reply(status=429, headers=(("Retry-After", "7"),)), Reply()]
    with (
        ScriptedHub(script) as hub,
        HubClient(hub.url, token=None, limits=limits(requests_per_second=0.5), **fake.hooks) as client,
    ):
        client.get("/api/models")
        assert client.requests == 3
    # A second after the 500, a second more for the rate, seven after the 429, which the rate lies within.
    assert client.waited_seconds == pytest.approx(9.0, abs=0.01)
    assert client.waited_seconds == pytest.approx(sum(fake.slept))

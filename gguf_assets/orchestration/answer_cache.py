"""The cache of answers: what other captures hold about a repository at a commit is not asked for again.

An answer that tells the details is a fact about the commit and has no age. One that refuses them (gone,
gated, name given away) may be another one tomorrow: it is taken over for so many hours by the Hub's clock.
What does not belong here: who is asked for, and what answers mean (`catalogue/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from gguf_assets.catalogue.sync_plan import Reason
from gguf_assets.errors import PermanentError
from gguf_assets.hub.details import DetailTarget
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.answers import StoredAnswer
from gguf_assets.store.capture import Capture
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store

_ANSWERED = 200
_Key = tuple[str, str]


@dataclass(frozen=True)
class CacheRules:
    """What the settings say of the cache.

    Attributes:
        enabled: whether anything is taken over.
        refusals: for how long refusals are.
    """

    enabled: bool
    refusals: timedelta


def cache_rules(loaded: LoadedSettings) -> CacheRules:
    """Return what the settings say of the cache."""
    performance = loaded.settings.performance
    return CacheRules(performance.enable_caching, timedelta(hours=performance.cache_ttl_hours))


def adopt_answers(store: Store, capture: Capture, targets: Sequence[DetailTarget], rules: CacheRules) -> int:
    """Take over into a capture what other captures hold about targets; a forced sync takes over nothing.

    Args:
        store: where captures lie.
        capture: the capture that wants the answers.
        targets: what it wants.
        rules: what the settings say.

    Returns:
        The number of answers taken over.

    Raises:
        PermanentError: the disk refused (category `storage`). Damaged answers are left: they are asked for.
    """
    if not rules.enabled or capture.plan.reason == Reason.FORCED:
        return 0
    names = {(target.hub_id, target.sha): target.model_id for target in targets}
    names = {key: name for key, name in names.items() if not capture.has_answer(*key)}
    baseline = store.published.latest_before(capture.day)
    adopted, refusals = 0, dict[_Key, StoredAnswer]()
    for other in _others(store, capture, baseline, rules):
        if not names:
            break
        unused = _holds_unused(other, baseline)
        fresh = _is_fresh(other, capture, rules)
        if not unused and not fresh:
            continue
        for answer in _readable(other):
            key = (answer.hub_id, answer.sha)
            if key not in names:
                continue
            if answer.status == _ANSWERED and unused:
                _store(capture, answer)
                adopted += 1
                del names[key]
            elif fresh and _is_refusal(answer, names):
                refusals[key] = answer
    for key, answer in refusals.items():
        if key in names:
            _store(capture, answer)
            adopted += 1
    return adopted


def _is_refusal(answer: StoredAnswer, names: Mapping[_Key, str]) -> bool:
    """Whether an answer refuses what is still asked for by the same name.

    One that took no request was itself taken over, or was never sent: it is as old as it was, or costs none.
    """
    return (
        answer.status != _ANSWERED
        and answer.requests > 0
        and answer.model_id == names[(answer.hub_id, answer.sha)]
    )


def _is_fresh(other: Capture, capture: Capture, rules: CacheRules) -> bool:
    """Whether the refusals of another capture still hold for this one, by the Hub's clock."""
    if other.plan.endpoint != capture.plan.endpoint or other.observed_at is None:
        return False
    # Details may have been appended later than this: then they are fresher than they count.
    return capture.observed_at is not None and capture.observed_at - other.observed_at < rules.refusals


def _holds_unused(other: Capture, baseline: PublishedManifest | None) -> bool:
    """Whether a capture holds answers that the baseline did not use: those it used are known from it."""
    if baseline is None or other.day > baseline.day:
        return other.details_files > 0
    used = baseline.capture.details_files if other.run == baseline.capture.run else 0
    return other.day == baseline.day and other.details_files > used


def _others(
    store: Store, capture: Capture, baseline: PublishedManifest | None, rules: CacheRules
) -> Iterator[Capture]:
    """Yield the other captures since the baseline, and before it as far as refusals hold; oldest first."""
    first = date.min if baseline is None else baseline.day
    if capture.observed_at is not None:
        first = min(first, (capture.observed_at - rules.refusals).date())
    for day in store.captures.days():
        if not first <= day <= capture.day:
            continue
        for run in store.captures.runs(day):
            if (day, run) == (capture.day, capture.run):
                continue
            try:
                other = store.captures.open(day, run)
            except PermanentError:  # damaged: taking over only saves requests
                continue
            yield other


def _readable(capture: Capture) -> Iterator[StoredAnswer]:
    """Yield the answers up to the first damaged file: taking them over only saves requests."""
    try:
        yield from capture.iter_answers()
    except PermanentError:
        return


def _store(capture: Capture, answer: StoredAnswer) -> None:
    capture.store_answer(
        hub_id=answer.hub_id,
        model_id=answer.model_id,
        sha=answer.sha,
        status=answer.status,
        info=answer.info,
        tree=answer.tree,
        requests=0,
    )

"""What the next sync will probably ask the Hub for, from what earlier days have cost; nothing is written.

Here: reading the counts from the store. Not here: the arithmetic (`catalogue/expectation`) and what the sync
will do (`dry_run`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from gguf_assets.catalogue.expectation import (
    ABSENT,
    CLOCK,
    DETAILS,
    HEADERS,
    LISTING,
    ROUTES,
    VERIFICATION,
    Expectation,
    Part,
    allowed_within,
    details_expected,
    listing_pages,
    middle,
    seconds_within,
    verification_expected,
    with_controls,
)
from gguf_assets.catalogue.sync_plan import WalkKind
from gguf_assets.catalogue.targets import detail_targets
from gguf_assets.errors import PermanentError
from gguf_assets.hub.absences import CONTROL_EVERY
from gguf_assets.hub.routes import MOST_PAGES
from gguf_assets.hub.walk import PAGE_SIZE
from gguf_assets.orchestration.assets.capture import DETAILS_SECONDS, listed_heads, wanted_details
from gguf_assets.orchestration.verification import allowed_again
from gguf_assets.settings.limits import effective_limits
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.store.capture import Capture
from gguf_assets.store.capture_manifest import CapturePlan
from gguf_assets.store.manifests import PublishedManifest
from gguf_assets.store.store import Store

RECENT = 7
"""Published days, and syncs, that count as recent."""

_FRESH = ("added", "restored", "recreated", "updated")
"""Kinds of change after which a model's details are asked for."""

_KNOWN = ["hub_id", "model_id", "sha", "downloads", "details_sha", "gguf_files"]


class Estimates:
    """Estimates from one store; made for one question.

    Args:
        store: the store, opened so that reading changes nothing.
        loaded: the settings.
        day: the day to be synced.
    """

    def __init__(self, store: Store, loaded: LoadedSettings, day: date) -> None:
        self._store, self._loaded, self._day = store, loaded, day
        self._limits = effective_limits(loaded)
        manifests = (store.published.manifest(published) for published in store.published.days()[-RECENT:])
        self._recent = [manifest for manifest in manifests if manifest is not None]
        self._baseline = store.published.latest_before(day)
        # A day that is walked again has changed since its own publishing only.
        self._reference = store.published.manifest(day) or self._baseline

    def of_walk(self, plan: CapturePlan, clock: int) -> Expectation:
        """Return what a new walk will cost, after so many requests for the Hub's clock."""
        parts = [self._listing(plan), *self._routes(plan, None), *self._absent(plan, 0)]
        backlog = None if self._reference is None else self._backlog(self._reference)
        details = self._details(plan.detail_limit, backlog)
        again = self._again(plan.detail_limit, details, None)
        return self._together(clock, [*parts, details, *again])

    def of_rest(self, capture: Capture, detail_limit: int | None, clock: int) -> Expectation:
        """Return what is left of an unfinished capture, after so many requests for the Hub's clock."""
        plan, parts = capture.plan, []
        if not capture.listing_complete:
            parts.append(self._rest_of_listing(capture))
        if not capture.details_complete:
            parts += self._routes(plan, capture)
            entry = capture.absence
            if entry is None or not entry.done:
                parts += self._absent(plan, 0 if entry is None else entry.asked)
            left = None if detail_limit is None else max(0, detail_limit - capture.detail_requests)
            details = self._rest_of_details(capture, left)
            parts += [details, *self._again(detail_limit, details, capture)]
        return self._together(clock, parts)

    def of_nothing(self, clock: int) -> Expectation:
        """Return what a sync costs that has nothing to fetch."""
        return self._together(clock, [])

    def _listing(self, plan: CapturePlan) -> Part:
        reference = self._reference
        if reference is None:
            return Part(LISTING, None, "no day is published yet, so nobody knows how many models there are")
        models = reference.rows["models"]
        whole = listing_pages(models, PAGE_SIZE)
        if plan.kind != WalkKind.WINDOW:
            basis = f"pages of {PAGE_SIZE:,} of the {models:,} models published for {reference.day}"
            return Part(LISTING, whole, basis)
        per_day, days = self._changed_per_day()
        hours = plan.window_hours or 0.0
        pages = listing_pages(None if per_day is None else per_day * hours / 24, PAGE_SIZE)
        basis = "nothing is known yet about how many models change in a day"
        if per_day is not None:
            basis = f"{per_day:,.0f} changed models a day ({_median_of(days)}) in a window of {hours:g} hours"
        return Part(LISTING, pages, basis, whole)

    def _rest_of_listing(self, capture: Capture) -> Part:
        part, stored = self._listing(capture.plan), capture.pages_stored
        if capture.next_link is None:
            return Part(LISTING, 0, f"all {stored:,} pages are stored", 0)
        left = None if part.requests is None else max(1, part.requests - stored)
        return Part(LISTING, left, f"{part.basis}; {stored:,} pages are stored already")

    def _routes(self, plan: CapturePlan, begun: Capture | None) -> list[Part]:
        if not plan.routes:
            return []
        left = dict(MOST_PAGES)
        for name, entry in ({} if begun is None else begun.routes).items():
            left[name] = 0 if entry.done else max(0, left[name] - len(entry.pages))
        most = sum(left.values())
        named = ", ".join(f"{name} {pages}" for name, pages in left.items())
        return [Part(ROUTES, most, f"the most pages of the discovery routes: {named}", most)] if most else []

    def _absent(self, plan: CapturePlan, asked: int) -> list[Part]:
        limit = self._loaded.settings.validation.removal_confirm_limit
        if self._baseline is None or plan.kind == WalkKind.WINDOW:
            return []
        most = with_controls(max(0, limit - asked), CONTROL_EVERY)
        costs = [
            capture.absence.requests
            for capture in self._recent_captures()
            if capture.absence is not None and capture.absence.done
        ]
        usual = middle(costs)
        if usual is None:
            text = f"nothing is known yet about how many go missing in a day; at most {limit:,} are asked for"
            return [Part(ABSENT, None, text, most)]
        expected = min(most, max(0, round(usual) - asked))
        return [Part(ABSENT, expected, f"{_median_of(len(costs))}; at most {limit:,} are asked for", most)]

    def _details(self, limit: int | None, backlog: int | None) -> Part:
        allowed, bound = self._allowed_details(limit)
        if self._reference is None or backlog is None:
            return Part(DETAILS, allowed, f"as many as the run may ask for: {bound}", allowed)
        elapsed = (self._day - self._reference.day).days
        per_day, days = self._changed_per_day()
        changed = 0.0 if elapsed == 0 else None if per_day is None else per_day * elapsed
        shown = "an unknown number of" if changed is None else f"{changed:,.0f}"
        source = f" ({_median_of(days)})" if elapsed and days else ""
        basis = f"{shown} new and changed models{source} + {backlog:,} of unknown details; {bound}"
        return Part(DETAILS, details_expected(allowed, changed, backlog), basis, allowed)

    def _rest_of_details(self, capture: Capture, limit: int | None) -> Part:
        if not capture.listing_complete:
            backlog = None if self._reference is None else self._backlog(self._reference)
            return self._details(limit, backlog)
        fix = self._loaded.settings.validation.enable_automatic_fixes
        targets = wanted_details(self._store, capture, listed_heads(capture, fix=fix))
        wanted = sum(not capture.has_answer(target.hub_id, target.sha) for target in targets)
        allowed, bound = self._allowed_details(limit)
        expected = details_expected(allowed, 0.0, wanted)
        return Part(
            DETAILS, expected, f"{wanted:,} models of its listing are left to ask for; {bound}", allowed
        )

    def _again(self, limit: int | None, details: Part, begun: Capture | None) -> list[Part]:
        """Return what asking again for known details, and reading headers, will cost beside the details."""
        if self._baseline is None or self._reference is None:
            return []
        allowed = allowed_again(self._loaded, limit)
        entry = None if begun is None else begun.verification
        asked = 0 if begun is None else begun.verification_requests
        read = 0 if entry is None else len(entry.heads)
        parts = []
        if (requests := max(0, allowed.requests - asked)) > 0:
            left = None if details.most is None else details.most - (details.requests or 0)
            known = int(self._reference.figures.get("details_known", self._reference.rows["models"]))
            expected = verification_expected(requests, known, left)
            basis = f"{known:,} models of known details, at most {allowed.requests:,} of them a run"
            most = requests if details.most is None else min(requests, details.most)
            parts.append(Part(VERIFICATION, expected, f"{basis}, within what the details leave over", most))
        if (files := max(0, allowed.headers - read)) > 0:
            basis = f"{files:,} beginnings of files, a request each and one more where the Hub redirects"
            parts.append(Part(HEADERS, 2 * files, basis))
        return parts

    def _allowed_details(self, limit: int | None) -> tuple[int | None, str]:
        """Return most detail requests of a run, and in words what bounds them."""
        second, hour = self._limits.requests_per_second, self._limits.requests_per_hour
        in_time = allowed_within(DETAILS_SECONDS, second, hour)
        if in_time is not None and (limit is None or in_time < limit):
            return in_time, f"at most {in_time:,}, those of {DETAILS_SECONDS // 60} minutes"
        return limit, "no limit" if limit is None else f"at most {limit:,}"

    def _changed_per_day(self) -> tuple[float | None, int]:
        """Return the median of new and changed models a day, and of how many days it is.

        Incremental days count; where there are none, any day that has a baseline does.
        """
        compared = [manifest for manifest in self._recent if manifest.baseline is not None]
        incremental = [manifest for manifest in compared if manifest.mode == "incremental"]
        counts = [_changed_a_day(manifest) for manifest in incremental or compared]
        return middle(counts), len(counts)

    def _backlog(self, reference: PublishedManifest) -> int:
        """Return how many models of a published day have details that nobody knows yet."""
        models = self._store.published_tables(reference.day).model_columns(_KNOWN)
        targets = detail_targets(models, models)
        taken_over = self._loaded.settings.performance.enable_caching
        unused = list(self._unused_answers(reference)) if taken_over else []
        if not unused:
            return int(targets.num_rows)
        wanted = set(zip(targets["hub_id"].to_pylist(), targets["sha"].to_pylist(), strict=True))
        for capture in unused:
            try:
                for answer in capture.iter_answers():
                    if answer.status == 200:
                        wanted.discard((answer.hub_id, answer.sha))
            except PermanentError:
                continue  # a sync takes over what is readable, too
        return len(wanted)

    def _unused_answers(self, reference: PublishedManifest) -> Iterator[Capture]:
        """Yield the captures whose answers the day has not used: they need no second request."""
        for day in self._store.captures.days():
            if not reference.day <= day <= self._day:
                continue
            for run in self._store.captures.runs(day):
                capture = self._store.captures.open(day, run)
                own = (day, run) == (reference.day, reference.capture.run)
                if capture.details_files > (reference.capture.details_files if own else 0):
                    yield capture

    def _recent_captures(self) -> Iterator[Capture]:
        for manifest in self._recent:
            if manifest.capture.run in self._store.captures.runs(manifest.day):
                yield self._store.captures.open(manifest.day, manifest.capture.run)

    def _together(self, clock: int, parts: list[Part]) -> Expectation:
        if clock:
            parts = [Part(CLOCK, clock, "the Hub's clock is asked for", clock), *parts]
        seconds, basis = self._seconds(Expectation(tuple(parts), None, "").requests)
        return Expectation(tuple(parts), seconds, basis)

    def _seconds(self, requests: int | None) -> tuple[float | None, str]:
        if requests is None:
            return None, "the requests are unknown"
        second, hour = self._limits.requests_per_second, self._limits.requests_per_hour
        within = seconds_within(requests, second, hour)
        if within is not None:
            rates = [f"{second:g} requests a second"] if second is not None else []
            rates += [f"{hour:,} an hour"] if hour is not None else []
            return round(within, 1), f"the rate in force: {', '.join(rates)}"
        if requests == 0:
            return 0.0, "no request is sent"
        figures = [sync.figures for sync in self._store.history.syncs() if sync.state == "finished"]
        told = [
            (figure["requests"], figure["duration_seconds"])
            for figure in figures
            if figure.get("requests") and figure.get("duration_seconds")
        ][-RECENT:]
        if not told:
            return None, "no rate is set for a Hub on this machine, and no sync has shown its pace yet"
        sent, took = (sum(values) for values in zip(*told, strict=True))
        basis = f"the pace of the last {len(told)} syncs: {sent:,} requests in {took:,.1f} s"
        return round(requests * took / sent, 1), basis


def _changed_a_day(manifest: PublishedManifest) -> float:
    assert manifest.baseline is not None
    changes = manifest.figures.get("changes", {})
    days = max(1, (manifest.day - manifest.baseline.date).days)
    return float(sum(changes.get(kind, 0) for kind in _FRESH) / days)


def _median_of(count: int) -> str:
    return "as on the last comparable day" if count == 1 else f"median of {count} recent days"

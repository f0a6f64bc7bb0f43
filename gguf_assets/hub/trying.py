"""Trying again: the loop that follows the retry policy, counts what failed, and adapts to it.

What does not belong here: the policy itself (`retries`), sending (`session`) and judging answers (`client`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from gguf_assets.errors import ErrorCategory, GgufAssetsError, PermanentError
from gguf_assets.hub.adaptive import Adaptation
from gguf_assets.hub.errors import TRY_CATEGORIES, BudgetError, FailedTryError, gave_up
from gguf_assets.hub.retries import RetryPolicy
from gguf_assets.hub.traffic import Traffic
from gguf_assets.masking import mask

_logger = logging.getLogger(__name__)


class Answered(Protocol):
    """What a try brings home."""

    @property
    def status(self) -> int:
        """HTTP status."""


Brought = TypeVar("Brought", bound=Answered)


class Trying:
    """Tries things until they succeed, cannot, or the tries are used up; for all threads of one client.

    Args:
        endpoint: the Hub, for messages.
        traffic: where tries are counted.
        adaptation: told how tries went.
        sleep: waits for so many seconds; None for real, but no longer than anybody waits for the outcome.
        random: a number from 0 to below 1.
        monotonic: seconds of a clock that nobody sets.
        time_limit_seconds: how long from now on it still tries.
    """

    def __init__(
        self,
        endpoint: str,
        traffic: Traffic,
        adaptation: Adaptation,
        *,
        sleep: Callable[[float], None] | None,
        random: Callable[[], float],
        monotonic: Callable[[], float],
        time_limit_seconds: float | None,
    ) -> None:
        self._endpoint = endpoint
        self._traffic = traffic
        self._adaptation = adaptation
        self._sleep = sleep or traffic.rest
        self._random = random
        self._monotonic = monotonic
        self._time_limit = math.inf if time_limit_seconds is None else time_limit_seconds
        self._began = monotonic()

    def again(
        self, path: str, once: Callable[[], Brought], policy: RetryPolicy, quota_wait: Callable[[], float]
    ) -> Brought:
        """Try something again and again while it fails transiently and the policy has another try.

        Args:
            path: what is asked for, for messages.
            once: tries once; raises `FailedTryError` where another try may help.
            policy: how often, and after which pauses.
            quota_wait: seconds for which the announced quota holds requests back.

        Raises:
            TransientError: the tries are used up.
            PermanentError: no other try could help, or the time limit is over.
        """
        failed = 0
        with self._traffic.calling():
            while True:
                self._refuse_after_time_limit()
                try:
                    return self._try(path, once, failed + 1, policy.tries)
                except FailedTryError as failure:
                    failed += 1
                    luck = self._random() if policy.jitter else 1.0
                    wait = policy.pause(failed, luck=luck, asked=failure.wait, quota=quota_wait())
                    if wait is None:
                        raise gave_up(self._endpoint, path, failure, failed) from None
                    self._traffic.retried()
                    _logger.warning(
                        "The Hub at %s %s; try %d of %d in %.1f s",
                        self._endpoint,
                        failure.what,
                        failed + 1,
                        policy.tries,
                        wait,
                    )
                self.pause(wait)

    def pause(self, seconds: float) -> None:
        """Wait, and count it.

        Raises:
            AbandonedError: nobody waits for the outcome any more.
        """
        self._traffic.has_waited(seconds)
        self._sleep(seconds)
        self._traffic.refuse_abandoned()

    def _try(self, path: str, once: Callable[[], Brought], number: int, tries: int) -> Brought:
        """Try once; count it by category if it fails, adapt to it, and log it for who looks closely."""
        began, waited, cuts = time.monotonic(), self._traffic.own_waited, self._adaptation.cuts
        said = "no answer"
        try:
            answer = once()
            said = str(answer.status)
            self._adaptation.answered(together=self._traffic.turn is not None)
            return answer
        except FailedTryError as failure:
            said = failure.what
            self._traffic.failed_with(failure.category)
            self._adapt_to(failure, cuts)
            raise
        except GgufAssetsError as error:
            said = error.message
            if error.category in TRY_CATEGORIES and not isinstance(error, BudgetError):
                self._traffic.failed_with(error.category)
            raise
        finally:
            if _logger.isEnabledFor(logging.DEBUG):
                _logger.debug(
                    "GET %s: %s, %.3f s, try %d of %d",
                    mask(path),
                    mask(said),
                    max(0.0, time.monotonic() - began - (self._traffic.own_waited - waited)),
                    number,
                    tries,
                )

    def _adapt_to(self, failure: FailedTryError, began: int) -> None:
        if failure.status in (429, 503):
            asked = failure.status == 429 or failure.wait is not None
            self._adaptation.disturbed(f"the Hub answered {failure.status}", began=began, slow_down=asked)
        elif failure.category is ErrorCategory.TIMEOUT:
            self._adaptation.disturbed("the Hub did not answer in time", began=began, slow_down=False)

    def _refuse_after_time_limit(self) -> None:
        if self._monotonic() - self._began > self._time_limit:
            raise PermanentError(
                f"Stopped after {self._time_limit / 3600:g} h, the longest that a sync may take",
                category=ErrorCategory.TIMEOUT,
                remedy="The same command goes on where it stopped; more time: WORKFLOW_TIMEOUT_HOURS.",
            )

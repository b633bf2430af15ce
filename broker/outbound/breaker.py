"""A breaker: after several failures in a row something rests; then one request at a time tries whether it is back.

What is a failure, its user decides (`turns.py`): whether there is an answer is what counts, not what the answer is. One app
that answers 500 must not delay another behind the same host name.
"""

from __future__ import annotations

from collections.abc import Callable

FAILURES = 5
"""Failures in a row that open it."""
FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 30.0
"""The rest doubles with each probe that fails, up to this."""
PROBE_SECONDS = 0.25
"""What others wait while a probe is under way."""


class Breaker:
    """`enter` before a request, `leave` after it. `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._rest = FIRST_REST_SECONDS
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether it rests, or is being tried."""
        return self._failures >= FAILURES

    def enter(self) -> float:
        """0 when the request may go out (then `leave` must follow), else seconds to wait (then `leave` must not)."""
        if self._failures < FAILURES:
            return 0.0
        left = self._until - self._now()
        if left > 0:
            return left
        if self._probing:
            return PROBE_SECONDS
        self._probing = True
        return 0.0

    def leave(self, answered: bool | None) -> None:
        """How it went: there was an answer, there was none, or it cannot be told (cancelled, never sent)."""
        probing, self._probing = self._probing, False
        if answered:
            self._failures = 0
            self._rest = FIRST_REST_SECONDS
        elif answered is False:
            self._failures += 1
            if self._failures >= FAILURES and self._until <= self._now():
                self._until = self._now() + self._rest
                if probing:
                    self._rest = min(self._rest * 2, LONGEST_REST_SECONDS)

"""Pauses between tries: they double up to a longest, with jitter so that many clients do not return at one instant."""

from __future__ import annotations

import random


class Backoff:
    """Successive pauses in seconds: between half of and all of `first`, 2 `first`, 4 `first`, … `longest`."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def pause(self) -> float:
        """The next pause, seconds."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  jitter, no secret

    def reset(self) -> None:
        """Start again at `first`: it worked."""
        self._next = self._first

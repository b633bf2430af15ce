"""The scripts of one thread: a sandbox each, the least used given up, and one that keeps going beyond its bounds paused."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final

from broker.codecs.base import CodecError
from broker.codecs.javascript.sandbox import Bounds, Sandbox, ScriptStopped

MOST_SANDBOXES: Final = 64
"""Kept in one thread, count; each takes 0.5 to 1 MB."""
STOPS: Final = 3
"""After so many calls in a row that were stopped, a script is paused: it would hold up the others of its thread."""
PAUSE_SECONDS: Final = 60.0


class Scripts:
    """Not for several threads."""

    def __init__(self, bounds: Bounds | None = None, most: int = MOST_SANDBOXES) -> None:
        self._bounds = bounds or Bounds()
        self._most = most
        self._kept: OrderedDict[str, Sandbox | str] = OrderedDict()
        """By source; a text is why there is none."""
        self._stops: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """By source: how often it was stopped in a row, and until when (monotonic) it is not tried."""

    def call(self, source: str, names: tuple[str, ...], given: dict[str, object], at_ms: int = 0) -> tuple[str, object]:
        """The first of `names` that the script has, and what it answers (`Sandbox.call`). Raises CodecError."""
        stops, until = self._stops.get(source, (0, 0.0))
        left = until - time.monotonic()
        if left > 0:
            raise CodecError(f"The script was stopped {stops} times in a row; it is tried again in {left:.0f} s.")
        try:
            sandbox = self._sandbox(source)
            name = next((each for each in names if each in sandbox.functions), None)
            if name is None:
                raise CodecError(f"The script has none of the functions {', '.join(names)}.")
            answer = sandbox.call(name, given, at_ms)
        except ScriptStopped:
            self._stops[source] = (stops + 1, time.monotonic() + PAUSE_SECONDS if stops + 1 >= STOPS else 0.0)
            if len(self._stops) > self._most:
                self._stops.popitem(last=False)
            raise
        if stops:
            del self._stops[source]
        return name, answer

    def _sandbox(self, source: str) -> Sandbox:
        kept = self._kept.get(source)
        if kept is None:
            try:
                kept = Sandbox(source, self._bounds)
            except ScriptStopped:
                raise
            except CodecError as error:
                kept = str(error)
            self._kept[source] = kept
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(source)
        if isinstance(kept, str):
            raise CodecError(kept)
        return kept


_here = threading.local()


def scripts_here() -> Scripts:
    """Those of the calling thread."""
    found: Scripts | None = getattr(_here, "scripts", None)
    if found is None:
        found = _here.scripts = Scripts()
    return found


def bound_here(bounds: Bounds) -> None:
    """From now on the scripts of the calling thread have these bounds."""
    _here.scripts = Scripts(bounds)

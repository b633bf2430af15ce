"""What is fuzzed: a parser, what goes in, what it may refuse with; and one try of it under watch."""

from __future__ import annotations

import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis.strategies import SearchStrategy

LONGEST_REASON: Final = 4_000
"""Characters of a reason: it quotes what was sent only in part."""
SLOW_SECONDS: Final = 1.0
"""Of processor time: what takes longer is reported."""
HUNG_SECONDS: Final = 5.0
"""Of processor time: what takes longer is ended."""


class Hung(BaseException):
    """It took longer than HUNG_SECONDS. No Exception, so that nothing takes it for its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser, or several that read alike."""

    name: str
    inputs: SearchStrategy[Any]
    run: Callable[[Any], object]
    """Reads an input and asserts what must hold of the result."""
    refuses: tuple[type[Exception], ...]
    """What it may raise."""
    weight: int = 1
    """How many more inputs it gets than others."""
    seconds: float = SLOW_SECONDS
    """What takes longer is reported."""


@dataclass(slots=True)
class Tally:
    """What came of a target's inputs."""

    tried: int = 0
    refused: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    found: dict[str, str] = field(default_factory=dict)
    """Where it went wrong -> the input and how."""
    times: Counter[str] = field(default_factory=Counter)


def attempt(target: Target, given: Any, tally: Tally) -> None:
    """One input. Raises what it should not have, once for each place where it goes wrong."""
    began = time.thread_time()
    tally.tried += 1
    try:
        with _ended_after(HUNG_SECONDS):
            try:
                target.run(given)
            except target.refuses as reason:
                tally.refused += 1
                said = str(reason)
                assert said, "no reason"
                assert len(said) <= LONGEST_REASON, f"a reason of {len(said)} characters: {said[:200]}…"
                said.encode()  # it is stored and answered as UTF-8
        took = time.thread_time() - began
        assert took < target.seconds, f"it took {took:.1f} s of processor time"
    except (Exception, Hung) as error:
        place = _place(error)
        tally.times[place] += 1
        shown = f"{type(error).__name__}: {error}"[:600] + f"\n    {given!r:.2000}"
        known = tally.found.get(place)
        if known is None or len(shown) < len(known):
            tally.found[place] = shown
        raise
    finally:
        took = time.thread_time() - began
        tally.seconds += took
        tally.longest = max(tally.longest, took)


def _place(error: BaseException) -> str:
    """The innermost line of ours, outside of this folder where there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/broker/" in frame.filename or "/adapters/" in frame.filename]
    frame = (ours or frames)[-1]
    return f"{type(error).__name__} at {'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno} ({frame.name})"


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    def end(*_: object) -> None:
        raise Hung(f"ended after {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)

"""`python -m tests.fuzz --minutes 60`: inputs for every target in turn, until the time is up; what was found, at the end."""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import time
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.target import HUNG_SECONDS, Hung, Tally, Target, attempt
from tests.fuzz.targets import TARGETS

INPUTS: Final = 150
"""Of a target's turn, times its weight."""
MEMORY: Final = 4 << 30
"""Bytes of address space: what wants more fails."""


def turn(target: Target, number: int, tally: Tally) -> None:
    """One turn of a target. What goes wrong for the first time is made as small as Hypothesis can."""
    known = set(tally.found)

    @seed(number)
    @settings(
        max_examples=INPUTS * target.weight,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(target.inputs)
    def each(one: Any) -> None:
        try:
            attempt(target, one, tally)
        except (Exception, Hung):
            if known.issuperset(tally.found):
                return
            raise

    try:
        each()
    except (Exception, Hung, BaseExceptionGroup) as error:
        new = set(tally.found) - known
        print(f"{target.name}: {', '.join(sorted(new)) or repr(error)[:300]}", flush=True)


def main() -> int:
    """How many places went wrong, as the exit status (at most 1)."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", default="", help="targets whose name has one of these in it, with commas")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given_ = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    wanted = given_.only.split(",")
    chosen = [target for target in TARGETS if any(word in target.name for word in wanted)]
    tallies = {target.name: Tally() for target in chosen}
    until = time.monotonic() + given_.minutes * 60
    number = given_.seed
    print(f"{len(chosen)} targets for {given_.minutes:g} min, seed {number}", flush=True)
    while chosen and time.monotonic() < until:
        for target in chosen:
            # Where Python cannot be interrupted, at least it is seen where it hangs.
            faulthandler.dump_traceback_later(60 * HUNG_SECONDS, exit=False)
            turn(target, number, tallies[target.name])
            if time.monotonic() >= until:
                break
        number += 1
    faulthandler.cancel_dump_traceback_later()
    return report(tallies)


def report(tallies: dict[str, Tally]) -> int:
    """What was run, and what was found."""
    print(f"\n{'target':40} {'inputs':>10} {'refused':>10} {'longest s':>10} {'found':>6}")
    for name, tally in tallies.items():
        print(f"{name:40} {tally.tried:>10,} {tally.refused:>10,} {tally.longest:>10.3f} {len(tally.found):>6}")
    total = sum(tally.tried for tally in tallies.values())
    found = sum(len(tally.found) for tally in tallies.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{'all':40} {total:>10,}; {found} places went wrong; peak memory {peak} MB")
    for name, tally in tallies.items():
        for place, shown in tally.found.items():
            print(f"\n{name}: {place}, {tally.times[place]} times\n  {shown}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

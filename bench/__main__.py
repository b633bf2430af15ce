"""`python -m bench [NAME …] [--store sqlite|mongo] [--markdown]`: all benchmarks, or those named."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path

from bench import latency, machine, patch, uplinks
from tests.support.mongo import mongo_stand_in

BENCHMARKS: dict[str, Callable[[str, Path], Coroutine[None, None, dict[str, str]]]] = {
    "uplinks": uplinks.run,
    "patch": patch.run,
    "latency": latency.run,
}
RESULTS = Path("var/bench.json")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--store", choices=("sqlite", "mongo"), default="sqlite", help="mongo: the tests' stand-in")
    parser.add_argument("--markdown", action="store_true", help="print a table for bench/README.md")
    given = parser.parse_args()
    for name in given.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark '{name}'; there are {', '.join(BENCHMARKS)}")
    figures: dict[str, str] = {}
    for name in given.names or BENCHMARKS:
        print(f"{name} on {given.store} ...", flush=True)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="knutpunkt-bench-")))
            store = f"sqlite:///{folder / 'bench.db'}"
            if given.store == "mongo":
                store = f"{stack.enter_context(mongo_stand_in())}/bench"
            made = asyncio.run(BENCHMARKS[name](store, folder))
        for what, figure in made.items():
            print(f"  {what}: {figure}", flush=True)
        figures |= made
    facts = machine.facts()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"at": time.time(), "store": given.store, **facts, "figures": figures}, indent=2))
    if given.markdown:
        print(f"\n| {given.store} | |\n| --- | --- |")
        for what, figure in {**figures, **facts}.items():
            print(f"| {what} | {figure} |")
    else:
        print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()

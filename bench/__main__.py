"""`python -m bench [NAME …] [--store STORE] [--markdown]`, or `python -m bench profile patch|mqtt`."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench import (
    batch,
    bulk,
    coap,
    commands,
    decode,
    dtls,
    latency,
    machine,
    matching,
    mqtt,
    patch,
    places,
    queries,
    resolve,
    silence,
    soak,
)
from bench.figures import Figure
from bench.profile import PROFILES
from tests.support.mongo import mongo_stand_in, with_database

BENCHMARKS: dict[str, Callable[[str, Path], Coroutine[None, None, list[Figure]]]] = {
    "mqtt": mqtt.run,
    "patch": patch.run,
    "batch": batch.run,
    "queries": queries.run,
    "latency": latency.run,
    "bulk": bulk.run,
    "coap": coap.run,
    "commands": commands.run,
    "decode": decode.run,
    "dtls": dtls.run,
    "matching": matching.run,
    "places": places.run,
    "resolve": resolve.run,
    "silence": silence.run,
    "soak": soak.run,
}
LONG = ("matching", "soak")
"""Minutes each: run when they are named."""
RESULTS = Path("var/bench.json")
STAND_IN = "mongo-standin"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(BENCHMARKS)}; all but {' and '.join(LONG)} by default. Or: profile {'|'.join(PROFILES)}",
    )
    parser.add_argument(
        "--store",
        default="sqlite",
        help=f"sqlite (default); mongodb://HOST/?… (a database of its own each); {STAND_IN} (the tests' server)",
    )
    parser.add_argument("--seconds", type=float, default=soak.SECONDS, help="of the soak (default %(default)s)")
    parser.add_argument(
        "--subscriptions", type=int, default=soak.SUBSCRIPTIONS, help="of the soak (default %(default)s)"
    )
    parser.add_argument("--rate", type=int, default=soak.RATE, help="updates/s of the soak (default %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table of bench/README.md")
    given = parser.parse_args()
    if not (given.store in ("sqlite", STAND_IN) or given.store.startswith(("mongodb://", "mongodb+srv://"))):
        parser.error(f"--store must be sqlite, mongodb://… or {STAND_IN}, got '{given.store}'")
    profiling, known = given.names[:1] == ["profile"], list(BENCHMARKS)
    names = given.names[1:] if profiling else given.names
    if profiling:
        known = list(PROFILES)
    for name in names:
        if name not in known:
            parser.error(f"there is no '{name}'; there are {', '.join(known)}")
    if profiling:
        for name in names or known:
            with _store(given.store, name) as (store, folder):
                PROFILES[name](store, folder)
        return
    BENCHMARKS["soak"] = partial(soak.run, seconds=given.seconds, subscriptions=given.subscriptions, rate=given.rate)
    _benchmarks(names or [name for name in known if name not in LONG], given.store, markdown=given.markdown)


def _benchmarks(names: list[str], kind: str, *, markdown: bool) -> None:
    facts = machine.facts() | {"store": _described(kind)}
    figures: list[Figure] = []
    for name in names:
        print(f"{name} on {facts['store']} ...", flush=True)
        with _store(kind, name) as (store, folder):
            made = asyncio.run(BENCHMARKS[name](store, folder))
        for figure in made:
            print(f"  {figure.name}: {figure.text}" + (f"  [aim: {figure.aim}]" if figure.aim else ""), flush=True)
        figures += made
    RESULTS.parent.mkdir(exist_ok=True)
    document = {"at": time.time(), "machine": facts, "figures": [asdict(figure) for figure in figures]}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    if markdown:
        print("\n| figure | measured | aim |\n| --- | --- | --- |")
        for figure in figures:
            print(f"| {figure.name} | {figure.text} | {figure.aim} |")
        print("\n" + "; ".join(f"{what}: {fact}" for what, fact in facts.items()) + ".")
    else:
        print("\n".join(f"{what}: {fact}" for what, fact in facts.items()))
    print(f"\nAlso in {RESULTS}.")


@contextmanager
def _store(kind: str, name: str) -> Iterator[tuple[str, Path]]:
    """An empty store's URL, and a folder that is gone afterwards."""
    database = f"bench_{name}_{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="knutpunkt-bench-") as path:
        folder = Path(path)
        if kind == "sqlite":
            yield f"sqlite:///{folder / 'bench.db'}", folder
        elif kind == STAND_IN:
            with mongo_stand_in() as uri:
                yield with_database(uri, database), folder
        else:
            yield with_database(kind, database), folder


def _described(kind: str) -> str:
    if kind == "sqlite":
        return "SQLite, synchronous=FULL"
    return "the tests' stand-in for MongoDB (no measure of MongoDB)" if kind == STAND_IN else "MongoDB"


if __name__ == "__main__":
    main()

"""Memory stays flat over many decodes, and over many that fail."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

from broker.codecs.base import CodecError
from broker.codecs.javascript.sandbox import Bounds, Sandbox
from broker.codecs.javascript.scripts import Scripts

DECODES = 100_000
ERRORS = 1_000
GROWTH_KB = 3_000
"""What the process may have grown by; a leak of 100 bytes a decode would be 10,000."""
SCRIPT = """
function decodeUplink(i) {
  undeclared = i.bytes.map(function (b) { return b * 2; });
  if (i.fPort === 2) throw new Error("no " + undeclared.join());
  if (i.fPort === 3) for (;;);
  if (i.fPort === 4) for (var all = [];;) all.push(new Array(100).fill(i));
  (async function () { await 1; kept = i; })();
  return {data: {t: undeclared[0], text: "x" + i.bytes.length, list: undeclared}};
}
"""


def resident_kb() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def grown(times: int, do: Callable[[], object], warm: int) -> int:
    for _ in range(warm):
        do()
    before = resident_kb()
    for _ in range(times):
        do()
    return resident_kb() - before


def test_it_is_flat_over_a_hundred_thousand_decodes() -> None:
    sandbox = Sandbox(SCRIPT, Bounds())
    given = {"bytes": list(range(20)), "fPort": 1}
    assert grown(DECODES, lambda: sandbox.call("decodeUplink", given), 25_000) < GROWTH_KB


def test_it_is_flat_over_a_thousand_errors() -> None:
    sandbox = Sandbox(SCRIPT, Bounds(seconds=0.002, megabytes=4))
    ports = iter(range(10 * ERRORS))

    def fail() -> None:
        try:
            sandbox.call("decodeUplink", {"bytes": [1, 2], "fPort": 2 + next(ports) % 3})
        except CodecError:
            return
        raise AssertionError("it did not fail")

    assert grown(ERRORS, fail, 150) < GROWTH_KB


def test_only_so_many_scripts_are_kept() -> None:
    scripts = Scripts(most=8)
    numbers = iter(range(1000))

    def one() -> None:
        source = f"function Decode() {{ return {{n: {next(numbers)}}}; }}"
        assert scripts.call(source, ("Decode",), {"fPort": 1, "bytes": []})[0] == "Decode"

    assert grown(150, one, 30) < GROWTH_KB

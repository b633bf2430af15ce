"""The device repository's own examples through the sandbox: `KNUTPUNKT_TEST_DEVICE_REPOSITORY` names a checkout of it.

Held against node where it is installed: of the examples that node passes, at least 97 % must pass here. The rest are in
docs/codecs.md, which `python -m tests.integration.test_ttn_codecs` prints.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.cli.ttn.models import BOUNDS, same
from broker.cli.ttn.read import Example, UnreadableFile, codecs, script
from broker.codecs.base import CodecError
from broker.codecs.javascript.sandbox import Sandbox

SHARE = 0.97
FOLDER = os.environ.get("KNUTPUNKT_TEST_DEVICE_REPOSITORY", "")
NODE = """
const vm = require("vm"), jobs = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(jobs.map(({source, routine, given}) => {
  const quiet = () => {}, module = {exports: {}};
  const context = vm.createContext({Buffer, atob, btoa, module, exports: module.exports, require: (name) => {
    if (name !== "buffer") throw new Error("no module " + name); return {Buffer}; },
    console: {log: quiet, info: quiet, warn: quiet, error: quiet, debug: quiet}});
  try {
    vm.runInContext(source, context, {timeout: 2000});
    return {answer: JSON.parse(vm.runInContext(`JSON.stringify(${routine}(${JSON.stringify(given)}))`, context, {timeout: 2000}))};
  } catch (error) { return {error: String(error)}; }
})));
"""


@dataclass(frozen=True)
class Found:
    """One example, and what became of it here and in node."""

    codec: str
    example: Example
    here: bool
    reason: str
    node: bool | None


def examine(root: Path) -> Iterator[Found]:
    """Every example of every codec."""
    tried: list[tuple[str, Example, str, bool, str]] = []
    sandboxes: dict[str, Sandbox | CodecError] = {}
    for described in codecs(root):
        if isinstance(described, UnreadableFile):
            continue
        vendor = described.path.partition("/")[0]
        for example in described.examples:
            try:
                source = script(root, vendor, described.scripts[example.routine])
            except UnreadableFile as error:
                tried.append((described.path, example, "", False, str(error)))
                continue
            here, reason = _here(sandboxes, source, example)
            tried.append((described.path, example, source, here, reason))
    jobs: list[dict[str, object]] = [
        {"source": source, "routine": one.routine, "given": one.given} for _, one, source, _, _ in tried
    ]
    answers = _node(jobs) if shutil.which("node") else [None] * len(jobs)
    for (path, example, _, here, reason), answer in zip(tried, answers, strict=True):
        node = None if answer is None else "answer" in answer and same(answer["answer"], example.expected)
        yield Found(path, example, here, reason, node)


def _here(sandboxes: dict[str, Sandbox | CodecError], source: str, example: Example) -> tuple[bool, str]:
    try:
        if source not in sandboxes:
            try:
                sandboxes[source] = Sandbox(source, BOUNDS)
            except CodecError as error:
                sandboxes[source] = error
        sandbox = sandboxes[source]
        if isinstance(sandbox, CodecError):
            raise sandbox
        answer = sandbox.call(example.routine, example.given)
    except CodecError as error:
        return False, str(error)
    return same(answer, example.expected), "it answers something else than the example says"


def _node(jobs: list[dict[str, object]]) -> list[dict[str, object] | None]:
    done = subprocess.run(["node", "-e", NODE], input=json.dumps(jobs).encode(), capture_output=True, check=True)
    found: list[dict[str, object] | None] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not FOLDER, reason="KNUTPUNKT_TEST_DEVICE_REPOSITORY names no checkout of the device repository")
@pytest.mark.timeout(300)
def test_published_examples_decode_as_published() -> None:
    found = list(examine(Path(FOLDER)))
    counted = [one for one in found if one.node is not False]
    passed = sum(one.here for one in counted)
    assert len(counted) > 100
    assert passed / len(counted) >= SHARE, [(one.codec, one.reason) for one in counted if not one.here]


def main() -> None:
    """Print what docs/codecs.md says of the repository."""
    found = list(examine(Path(FOLDER)))
    both = sum(one.here and bool(one.node) for one in found)
    print(
        f"{len(found)} examples; node {sum(bool(one.node) for one in found)}, here {sum(one.here for one in found)}, both {both}"
    )
    rest: dict[tuple[str, str, bool | None], list[str]] = defaultdict(list)
    for one in found:
        if not one.here:
            rest[one.codec.partition("/")[0], one.reason, one.node].append(
                one.codec.partition("/")[2].removesuffix("-codec.yaml")
            )
    for (vendor, reason, node), which in sorted(rest.items(), key=str):
        codecs_named = ", ".join(sorted(set(which)))
        print(f"| {vendor} | {codecs_named} ({len(which)}) | {reason} | {'passes' if node else 'the same'} |")


if __name__ == "__main__":
    main()

"""A device of the repository as a device model: its script tried on its examples, its quantities guessed from the answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.cli.ttn.guess import guess
from broker.cli.ttn.read import EndDevice, RepositoryCodec, UnreadableFile, codec, script
from broker.codecs.base import CodecError
from broker.codecs.javascript.codec import DECODERS
from broker.codecs.javascript.sandbox import Bounds, Sandbox
from broker.codecs.registry import JAVASCRIPT
from broker.devices.check import check_model
from broker.devices.model import DeviceModel
from broker.errors import BadRequestData

BOUNDS: Final = Bounds(seconds=1.0, megabytes=32)
"""For examples: there are some that take long."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one device of the repository."""

    device: EndDevice
    model: DeviceModel | None
    problem: str = ""
    """Why there is no model."""
    examples: int = 0
    as_expected: int = 0
    """Of its examples of uplinks."""


class Tried:
    """Codecs of one checkout, each tried once: many devices share one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, str], tuple[str, list[Any], int, int] | UnreadableFile | CodecError] = {}

    def model_of(self, device: EndDevice, prefix: str) -> Made:
        """The device model, or why there is none."""
        if device.codec is None:
            return Made(device, None, "the repository has no codec for it")
        try:
            source, answers, examples, as_expected = self._try(device.vendor, device.codec)
        except (UnreadableFile, CodecError) as error:
            return Made(device, None, str(error))
        model = DeviceModel(
            id=f"{prefix}{device.vendor}-{device.id}",
            vendor=device.vendor_name,
            name=device.name,
            codec=JAVASCRIPT,
            script=source,
            quantities=tuple(guess(answers)),
        )
        try:
            check_model(model)
        except BadRequestData as error:
            return Made(device, None, error.detail)
        return Made(device, model, "", examples, as_expected)

    def _try(self, vendor: str, codec_id: str) -> tuple[str, list[Any], int, int]:
        found = self._known.get((vendor, codec_id))
        if found is None:
            try:
                found = self._fresh(codec(self._root, vendor, codec_id), vendor)
            except (UnreadableFile, CodecError) as error:
                found = error
            self._known[vendor, codec_id] = found
        if isinstance(found, Exception):
            raise found
        return found

    def _fresh(self, described: RepositoryCodec, vendor: str) -> tuple[str, list[Any], int, int]:
        if "decodeUplink" not in described.scripts:
            raise CodecError("its codec has no decoder of uplinks")
        source = script(self._root, vendor, described.scripts["decodeUplink"])
        sandbox = Sandbox(source, BOUNDS)
        name = next((one for one in DECODERS if one in sandbox.functions), None)
        if name is None:
            raise CodecError(f"its script has none of the functions {', '.join(DECODERS)}")
        answers, examples, as_expected = [], 0, 0
        for one in described.examples:
            if one.routine != "decodeUplink":
                continue
            examples += 1
            try:
                answer = sandbox.call(name, one.given)
            except CodecError:
                continue
            if name != "decodeUplink":
                answer = {"data": answer}
            as_expected += same(answer, one.expected)
            if isinstance(answer, dict) and not answer.get("errors"):
                answers.append(answer.get("data"))
        return source, answers, examples, as_expected


def same(answer: Any, expected: Any) -> bool:
    """Whether two JSON documents are the same: numbers by value (a number that is none, as JSON writes it: null)."""
    if isinstance(answer, float) and not math.isfinite(answer):
        answer = None
    if isinstance(answer, dict) and isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(same(answer[key], expected[key]) for key in answer)
    if isinstance(answer, list) and isinstance(expected, list):
        return len(answer) == len(expected) and all(map(same, answer, expected))
    if isinstance(answer, bool) or isinstance(expected, bool):
        return answer is expected
    return bool(answer == expected)

"""`python -m tests.fuzz.guided codecs 200`: bytes guided by coverage (Atheris, which is to be installed: `pip install atheris`).

For what reads bytes or a text, and begins with what was recorded. Prints what came of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["broker", "adapters"]):
    from broker.places.given import Options
    from tests.fuzz import coap, requests, uplinks
    from tests.fuzz.files import PLACES
    from tests.fuzz.targets import TARGETS

import orjson

from tests.fuzz.target import Hung, Tally, attempt
from tests.support.recorded import MESSAGES, RECEIVED

Way = tuple[Callable[[bytes], Any], Sequence[bytes]]
PORTS: Final = [1, 2, 3, 5, 6, 10, 85, 100, 101, 102, 103, 104]


def way(name: str) -> Way:
    """(input of bytes, bytes to begin with) of a target."""
    if name == "codecs":
        return (
            lambda data: (
                uplinks.OF_BYTES[data[0] % len(uplinks.OF_BYTES)],
                PORTS[data[1] % len(PORTS)],
                data[2:],
                RECEIVED,
            ),
            [
                bytes([uplinks.OF_BYTES.index(codec), PORTS.index(port) if port in PORTS else 0]) + payload
                for codec, payload, port in uplinks.VECTORS
            ],
        )
    if name.startswith("network "):
        own = [each for each in MESSAGES if each.network == name.partition(" ")[2]]
        return (
            lambda data: (own[data[0] % len(own)].topic or uplinks.TOPICS[0], own[data[0] % len(own)].event, data[1:]),
            [bytes([number]) + each.body for number, each in enumerate(own)],
        )
    return _OTHERS[name]


_OTHERS: Final[dict[str, Way]] = {
    "SenML JSON": (bytes, coap.PACKS),
    "SenML CBOR": (bytes, [*coap.CBOR_PACKS, *coap.CBOR_ODD]),
    "CBOR": (bytes, [*coap.CBOR_PACKS, *coap.CBOR_ODD]),
    "LwM2M TLV": (lambda data: (data, (3303, 0)), coap.TLVS),
    "CoAP over TCP": (lambda data: [data[: len(data) // 2], data[len(data) // 2 :]], coap.FRAMES),
    "q": (lambda data: data.decode("utf-8", "ignore"), [text.encode() for text in requests.QS]),
    "places as CSV": (lambda data: (data, None, Options(most=50)), [text.encode() for text in PLACES]),
    "entities": (bytes, [orjson.dumps(requests.SAMPLE)]),
}


def main() -> None:
    """Does not return: Atheris ends the process."""
    name, seconds = sys.argv[1], float(sys.argv[2])
    target = next(each for each in TARGETS if each.name == name)
    of_bytes, seeds = way(name)
    tally, until = Tally(), time.monotonic() + seconds

    def one(data: bytes) -> None:
        if time.monotonic() > until:
            print(
                f"{name}: {tally.tried:,} inputs, {tally.refused:,} refused, longest {tally.longest:.3f} s, {tally.found}",
                flush=True,
            )
            os._exit(1 if tally.found else 0)
        if len(data) < 2:
            return
        try:
            attempt(target, of_bytes(data), tally)
        except (Exception, Hung):
            return  # it is in the tally

    folder = Path(tempfile.mkdtemp())
    for number, seed in enumerate(seeds):
        (folder / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], str(folder), "-max_len=2048", "-timeout=60", "-rss_limit_mb=3000"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

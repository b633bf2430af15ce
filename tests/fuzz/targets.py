"""All that is fuzzed."""

from typing import Final

from tests.fuzz import coap, files, requests, scripts, uplinks
from tests.fuzz.target import Target

TARGETS: Final[list[Target]] = [*uplinks.TARGETS, *coap.TARGETS, *scripts.TARGETS, *requests.TARGETS, *files.TARGETS]

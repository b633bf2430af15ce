"""All that is fuzzed."""

from typing import Final

from tests.fuzz import files, requests, scripts, uplinks
from tests.fuzz.target import Target

TARGETS: Final[list[Target]] = [*uplinks.TARGETS, *scripts.TARGETS, *requests.TARGETS, *files.TARGETS]

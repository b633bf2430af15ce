"""Our codecs against every example in The Things Network's device repository: `KNUTPUNKT_TEST_DEVICE_REPOSITORY` is a checkout.

What they differ in, and why, stands in `tests/support/vendor_fields.py`; docs/codecs-own.md has the figures.
"""

import os
from pathlib import Path

import pytest

from tests.support.vendor_examples import check, examples
from tests.support.vendor_fields import CODECS, DIFFERENT

CHECKOUT = os.environ.get("KNUTPUNKT_TEST_DEVICE_REPOSITORY", "")
pytestmark = pytest.mark.skipif(not CHECKOUT, reason="KNUTPUNKT_TEST_DEVICE_REPOSITORY names no checkout")


@pytest.mark.parametrize("vendor", sorted(CODECS))
def test_every_example_gives_what_the_vendor_gives_or_differs_for_a_reason(vendor: str) -> None:
    results = [check(example) for example in examples(Path(CHECKOUT), vendor)]
    assert results
    different = [result for result in results if not result.identical]
    known = DIFFERENT.get(vendor, {})
    unexplained = [
        f"{result.example.model} {result.example.payload.hex()}: {'; '.join(result.different)}"
        for result in different
        if result.example.model not in known
    ]
    assert not unexplained, "\n".join(unexplained)

"""Fixtures that any test may ask for, and how long Hypothesis may take: as long as it needs, for a machine may be busy."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.mongo"]

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long (it has a time limit of its own) comes first, so that no process waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)

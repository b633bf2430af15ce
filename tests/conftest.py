"""Fixtures that any test may ask for, and how long Hypothesis may take: as long as it needs, for a machine may be busy."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.mongo"]

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

"""Knutpunkt: a city's sensor hub, an NGSI-LD context broker on an async event pipeline."""

__version__ = "0.1.0"

"""Commands: NGSI-LD provision as pure functions from current entities to the next ones."""

"""The NGSI-LD information model: entities, attributes, representations, merge rules. Pure."""

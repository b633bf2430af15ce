"""The resources of NGSI-LD's HTTP binding (ETSI GS CIM 009 v1.9.1, 6), a file a resource or a few that belong together."""

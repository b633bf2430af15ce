"""JSON-LD @contexts: expand and compact terms, cache, fetch."""

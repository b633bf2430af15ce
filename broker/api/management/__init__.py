"""Management: /api/v1, the registry and what came in. Off the standard's paths."""

"""Live streams of changes (Server-Sent Events)."""

"""The embedded store: SQLite, a file a tenant, one process."""

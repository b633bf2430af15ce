"""The `knutpunkt` command."""

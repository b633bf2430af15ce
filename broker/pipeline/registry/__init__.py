"""The registry as its keepers change it: one thing at a time, or a file full of rows."""

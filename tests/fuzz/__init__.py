"""Whatever comes in: every parser gives its result or its own documented error, soon and in bounds. See CONTRIBUTING.md."""

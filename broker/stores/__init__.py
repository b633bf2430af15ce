"""Where entities, history, outbox and registry are kept: one protocol, two implementations."""

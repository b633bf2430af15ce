"""One small pure module a network server: its messages -> `Uplink`, and where it takes them, `Downlink` -> its messages."""

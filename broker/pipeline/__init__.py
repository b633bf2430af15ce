"""From intake to commit: the steps of an uplink, the writer, quarantine."""

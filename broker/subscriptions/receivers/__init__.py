"""Ready receivers: alarms and simple thresholds told to people, by e-mail, in Teams, or to any webhook."""

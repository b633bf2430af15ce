"""Health and alarms of virtual sensors: what is watched, an alarm's life, its Alert entity. Pure."""

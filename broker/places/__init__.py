"""Places: entities that contain others. Import, and what is known of one and all it contains."""

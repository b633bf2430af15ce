"""MQTT: connections as adapters and notifications use them, and notifications over MQTT."""

"""Intake from the outside: MQTT network servers, CoAP devices."""

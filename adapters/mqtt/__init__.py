"""The MQTT client loop; one small pure module a network server."""

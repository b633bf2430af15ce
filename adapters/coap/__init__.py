"""The CoAP server for NB-IoT devices."""

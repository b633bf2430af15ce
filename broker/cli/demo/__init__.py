"""`knutpunkt demo`: a small city of an invented Swedish municipality, with sensors that send.

`city.json` is the city; it is loaded over the public HTTP API, as an integrator would. The simulator sends what the
vendors' devices send: payload bytes in ChirpStack v4 uplinks over MQTT (or HTTP where there is no Mosquitto), SenML
over CoAP.
"""

"""The demo city: its places, sensors and the simulator that makes them speak."""

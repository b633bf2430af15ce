"""Device models from a checkout of The Things Network's device repository (github.com/TheThingsNetwork/lorawan-devices)."""

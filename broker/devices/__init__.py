"""Virtual identities: device models, devices, virtual sensors, bindings, swaps."""

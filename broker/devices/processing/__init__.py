"""What happens to a measurement between the device and the entity. Pure.

unit -> calibration -> meter -> checks -> value -> derived values
"""

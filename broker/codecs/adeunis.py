"""Adeunis: Temp 4, Comfort 2, Comfort CO2 and Serenity, Pulse 4, Dry Contacts 2, Motion, Breath, Delta P, Analog, and the Field Test
Device (Adeunis, technical reference manuals). Big-endian.

All but the Field Test Device say by their first byte what a frame is, then have a status byte; where it says so, a time of four
bytes (seconds since 2013) ends the frame. A frame may repeat earlier values; how far apart they are stands in the device's
settings, not in the frame, so only the newest of each is used.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader, from_epoch

_EPOCH = 1_356_998_400
"""2013-01-01 in Unix time."""
_STATUS_LOW_BATTERY, _STATUS_TIME, _STATUS_SECOND = 0x02, 0x04, 0x10
_NO_TEMPERATURE = -0x8000
_SERVICE = {0x10, 0x11, 0x12, 0x1F, 0x20, 0x2F, 0x30, 0x31, 0x33, 0x36, 0x37, 0x41, 0x47, 0x51, 0x52, 0x59}
"""Frames about the device: settings, answers, life signs, durations and flows."""

_Take = Callable[[Reader, int, Findings], None]


def _temperature(reader: Reader, found: Findings, channel: str = "") -> None:
    tenths = reader.big(2, "a temperature", signed=True)
    if tenths != _NO_TEMPERATURE:
        found.put("temperature", tenths / 10, channel)


def _temp(reader: Reader, status: int, found: Findings) -> None:
    _temperature(reader, found, "1")
    if status & _STATUS_SECOND:
        _temperature(reader, found, "2")


def _temp_alarm(reader: Reader, status: int, found: Findings) -> None:
    for channel in ("1", "2") if status & _STATUS_SECOND else ("1",):
        found.put("alarm", reader.big(1, "an alarm") != 0, f"temperature{channel}")
        _temperature(reader, found, channel)


def _comfort(reader: Reader, status: int, found: Findings) -> None:
    _temperature(reader, found)
    found.put("humidity", reader.big(1, "the humidity"))


def _comfort_alarm(reader: Reader, status: int, found: Findings) -> None:
    alarms = reader.big(1, "the alarms")
    found.put("alarm", bool(alarms >> 4), "temperature")
    found.put("alarm", bool(alarms & 1), "humidity")
    _comfort(reader, status, found)


def _comfort_co2(reader: Reader, status: int, found: Findings) -> None:
    _comfort(reader, status, found)
    found.put("co2", reader.big(2, "CO2"))


def _comfort_co2_alarm(reader: Reader, status: int, found: Findings) -> None:
    alarms = reader.big(1, "the alarms")
    for channel, bit in (("temperature", 0x10), ("humidity", 0x01), ("co2", 0x20)):
        found.put("alarm", bool(alarms & bit), channel)
    _comfort_co2(reader, status, found)


def _counter(channel: str) -> _Take:
    def take(reader: Reader, status: int, found: Findings) -> None:
        found.put("pulseCount", reader.big(4, "the counter"), channel)

    return take


def _counters(reader: Reader, status: int, found: Findings) -> None:
    for channel in "AB":
        found.put("pulseCount", reader.big(4, "a counter"), channel)


def _dry_contacts(reader: Reader, status: int, found: Findings) -> None:
    counts = [reader.big(2, "a count") for _ in range(4)]
    states = reader.big(1, "the states")
    for number, channel in enumerate("ABCD"):
        found.put("pulses", counts[number], channel)
        found.put("digitalInput", states >> 2 * number & 1, channel)


def _motion(reader: Reader, status: int, found: Findings) -> None:
    found.put("presence", reader.big(1, "the presence") != 0)
    found.put("presenceShare", reader.big(1, "the presence's share"))
    found.put("percentage", reader.big(1, "the luminosity"), "luminosity")


def _motion_alarm(reader: Reader, status: int, found: Findings) -> None:
    found.put("presence", reader.big(1, "the presence") != 0)
    found.put("percentage", reader.big(1, "the luminosity"), "luminosity")


_BREATH = ("tvocMass", "pm10", "pm25", "pm1")


def _breath(reader: Reader, status: int, found: Findings) -> None:
    for quantity in _BREATH:
        found.put(quantity, reader.big(2, quantity))


def _delta_p(reader: Reader, status: int, found: Findings) -> None:
    found.put("differentialPressure", reader.big(2, "the pressure", signed=True))


def _delta_p_alarm(reader: Reader, status: int, found: Findings) -> None:
    found.put("alarm", reader.big(1, "the alarm") != 0, "differentialPressure")
    _delta_p(reader, status, found)


def _analog(reader: Reader, status: int, found: Findings) -> None:
    for channel in "AB":
        kind, raw = reader.big(1, "an input's kind") & 0x0F, reader.big(3, "an input")
        if kind == 1:
            found.put("voltage", raw / 1_000_000, channel)
        elif kind == 2:
            found.put("current", raw / 100_000_000, channel)


def _analog_2(reader: Reader, status: int, found: Findings) -> None:
    used = reader.big(1, "the inputs")
    for channel, on, milliamperes in (("A", 0x01, 0x02), ("B", 0x04, 0x08)):
        if used & on:
            raw = reader.big(2, "an input")
            if used & milliamperes:
                found.put("current", raw / 1_000_000, channel)
            else:
                found.put("voltage", raw / 1000, channel)


_FRAMES: dict[int, tuple[_Take, bool]] = {
    # what is read, and whether the frame may end with a time
    0x40: (_dry_contacts, True),
    0x42: (_analog, False),
    0x46: (_counters, True),
    0x4C: (_comfort, True),
    0x4D: (_comfort_alarm, True),
    0x53: (_delta_p, False),
    0x54: (_delta_p_alarm, False),
    0x57: (_temp, True),
    0x58: (_temp_alarm, True),
    0x5A: (_counter("A"), True),
    0x5B: (_counter("B"), True),
    0x5C: (_motion, False),
    0x5D: (_motion_alarm, False),
    0x6A: (_comfort_co2, True),
    0x6B: (_comfort_co2_alarm, True),
    0x6D: (_breath, False),
    0x71: (_analog_2, True),
}


class Adeunis:
    """The codec 'adeunis'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink, at the frame's own time where it has one; any fPort. Other frames have none."""
        reader = Reader(payload)
        frame, status = reader.big(1, "what the frame is"), reader.big(1, "the status")
        if frame in _SERVICE:
            return []
        row = _FRAMES.get(frame)
        if row is None:
            raise CodecError(f"Byte 0: frame 0x{frame:02X} is not one of Adeunis's that are known.")
        take, timed = row
        if timed and status & _STATUS_TIME:
            body = payload[:-4]
            if len(body) < 2:
                raise CodecError("The frame is too short for the time that its status says it has.")
            at = from_epoch(int.from_bytes(payload[-4:], "big") + _EPOCH)
            reader = Reader(body)
            reader.take(2, "the head")
        found = Findings(at)
        take(reader, status, found)
        found.put("batteryLow", bool(status & _STATUS_LOW_BATTERY))
        return found.found


class AdeunisFieldTest:
    """The codec 'adeunis-ftd': the Field Test Device. A status byte says what follows."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Temperature, position, battery; how well the last downlink was heard is the network's business. Any fPort."""
        reader, found = Reader(payload), Findings(at)
        status = reader.big(1, "the status")
        if status & 0x80:
            found.put("temperature", reader.big(1, "the temperature", signed=True))
        if status & 0x10:
            _position(reader, found)
        if status & 0x08:
            reader.take(1, "the uplink counter")
        if status & 0x04:
            reader.take(1, "the downlink counter")
        if status & 0x02:
            found.put("batteryVoltage", reader.big(2, "the battery") / 1000)
        if status & 0x01:
            reader.take(2, "RSSI and SNR")
        return found.found


def _position(reader: Reader, found: Findings) -> None:
    # Degrees and minutes as decimal digits: DDMM.mmm and DDDMM.mm, then the hemisphere in the lowest bit.
    latitude, longitude = reader.take(4, "the latitude").hex(), reader.take(4, "the longitude").hex()
    reader.take(1, "the reception")
    digits = latitude[:7] + longitude[:7]
    if not digits.isdecimal():
        raise CodecError("Byte 2: the position must be of decimal digits.")
    north = int(latitude[:2]) + int(latitude[2:7]) / 60_000
    east = int(longitude[:3]) + int(longitude[3:7]) / 6_000
    if north > 90 or east > 180:
        raise CodecError("Byte 2: the position is not on Earth.")
    found.put("latitude", -north if int(latitude[7], 16) & 1 else north)
    found.put("longitude", -east if int(longitude[7], 16) & 1 else east)

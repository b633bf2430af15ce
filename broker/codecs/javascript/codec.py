"""What a vendor's script makes of payload bytes, and of an object to send.

The functions, by whom they are published: `decodeUplink(input)` and `encodeDownlink(input)` (LoRa Alliance TS013-1.0.0; The
Things Stack, ChirpStack v4, Actility, Milesight), `Decode(fPort, bytes, variables)` and `Encode(fPort, obj, variables)`
(ChirpStack v3), `Decoder(bytes, port)` and `Encoder(obj, port)` (The Things Network v2).
"""

from __future__ import annotations

from typing import Any, Final

from broker.clock import Micros
from broker.codecs.base import CodecError
from broker.codecs.javascript.scripts import scripts_here

DECODERS: Final = ("decodeUplink", "Decode", "Decoder")
_ENCODERS: Final = ("encodeDownlink", "Encode", "Encoder")
_MOST_BYTES: Final = 242
"""The longest application payload of LoRaWAN (regional parameters, EU868 at DR5)."""
_MOST_TEXT: Final = 500
_MILLISECOND: Final = 1000


def decode_script(source: str, payload: bytes, f_port: int, at: Micros) -> Any:
    """The decoded object (or list). `at`: when the network received the payload. Raises CodecError.

    May take as long as its bounds allow: not for an event loop.
    """
    given = {"bytes": list(payload), "fPort": f_port, "variables": {}}
    name, answer = scripts_here().call(source, DECODERS, given, at // _MILLISECOND)
    if name == "decodeUplink":
        answer = _data(answer)
    if answer is None:
        return {}
    if not isinstance(answer, (dict, list)):
        raise CodecError(f"The script's {name} must answer an object, got {_shown(answer)}.")
    return answer


def normalize_script(source: str, decoded: Any) -> Any:
    """What the script's `normalizeUplink` (The Things Stack) makes of a decoded object. Raises CodecError."""
    _, answer = scripts_here().call(source, ("normalizeUplink",), {"data": decoded})
    if not isinstance(answer, dict):
        raise CodecError(f"The script's normalizeUplink must answer an object, got {_shown(answer)}.")
    _refuse_errors(answer)
    return answer.get("data")


def encode_script(source: str, data: dict[str, Any], f_port: int) -> tuple[int, bytes]:
    """The fPort and bytes of an object to send. Raises CodecError."""
    name, answer = scripts_here().call(source, _ENCODERS, {"data": data, "fPort": f_port, "variables": {}})
    if name == "encodeDownlink":
        if not isinstance(answer, dict):
            raise CodecError(f"The script's encodeDownlink must answer an object, got {_shown(answer)}.")
        _refuse_errors(answer)
        f_port, answer = answer.get("fPort", f_port), answer.get("bytes")
    if isinstance(f_port, bool) or not isinstance(f_port, int) or not 1 <= f_port <= 223:
        raise CodecError(f"The script's fPort must be a whole number from 1 to 223, got {_shown(f_port)}.")
    if isinstance(answer, dict) and answer.get("type") == "Buffer":
        answer = answer.get("data")
    if not isinstance(answer, list) or not 1 <= len(answer) <= _MOST_BYTES:
        raise CodecError(f"The script's {name} must answer 1 to {_MOST_BYTES} bytes, got {_shown(answer)}.")
    if not all(type(byte) is int and 0 <= byte <= 255 for byte in answer):
        raise CodecError(f"The script's {name} must answer bytes, whole numbers from 0 to 255; got {_shown(answer)}.")
    return f_port, bytes(answer)


def _data(answer: Any) -> Any:
    if not isinstance(answer, dict):
        raise CodecError(f"The script's decodeUplink must answer an object, got {_shown(answer)}.")
    _refuse_errors(answer)
    if "data" not in answer and "warnings" not in answer and "errors" not in answer:
        raise CodecError("The script's decodeUplink must answer an object with 'data', and it has none.")
    return answer.get("data")


def _refuse_errors(answer: dict[str, Any]) -> None:
    errors = answer.get("errors") or answer.get("error")
    if errors:
        said = "; ".join(map(str, errors)) if isinstance(errors, list) else str(errors)
        raise CodecError(f"The script says: {said[:_MOST_TEXT]}")


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return "nothing" if value is None else repr(value)[:60]

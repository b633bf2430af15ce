"""What a command sees of what commands before it did, and what a command made of commands sees of its own parts."""

from __future__ import annotations

from typing import Any

from broker.clock import Clock
from broker.stores.base import Record, RecordWrite, Snapshot
from broker.stores.command import Effects, View

STAMP = Clock().stamp()


def effects(*writes: RecordWrite) -> Effects[None]:
    return Effects(None, records=list(writes))


def write(record_id: str, *keys: str, body: dict[str, Any] | None = None, gone: bool = False) -> RecordWrite:
    return RecordWrite("binding", record_id, None if gone else (body or {}), 2, None, keys)


def view() -> View:
    there = Record("binding", "a", {}, 1, ("device:1", "sensor:1"))
    snapshot = Snapshot(
        records={("binding", "a"): there},
        found={("binding", "device:1"): (there,), ("binding", "sensor:1"): (there,)},
    )
    return View(snapshot, Clock().new_id)


def ids(seen: View, key: str) -> list[str]:
    return sorted(record.id for record in seen.found("binding", key))


def test_what_was_written_is_found_by_the_keys_that_it_has_now() -> None:
    seen = view()
    seen.absorb(effects(write("b", "device:1"), write("a", "sensor:1")), STAMP)
    assert (ids(seen, "device:1"), ids(seen, "sensor:1")) == (["b"], ["a"])
    seen.absorb(effects(write("b", "device:2"), write("a", gone=True)), STAMP)
    assert (ids(seen, "device:1"), ids(seen, "device:2"), ids(seen, "sensor:1")) == ([], ["b"], [])
    seen.absorb(effects(write("b", "device:1")), STAMP)
    assert ids(seen, "device:1") == ["b"]


def test_a_layer_shows_what_is_below_it_and_hides_what_it_was_given() -> None:
    below = view()
    below.absorb(effects(write("b", "device:1", body={"n": 1})), STAMP)
    layer = below.layer()
    assert ids(layer, "device:1") == ["a", "b"]
    layer.absorb(effects(write("b", "device:1", body={"n": 2}), write("a", gone=True), write("c", "device:1")), STAMP)
    assert ids(layer, "device:1") == ["b", "c"]
    record = layer.record("binding", "b")
    assert record is not None
    assert record.body == {"n": 2}
    assert layer.record("binding", "a") is None
    assert ids(below, "device:1") == ["a", "b"]
    assert below.record("binding", "a") is not None

from __future__ import annotations

import pytest
from msgspec.structs import replace

from broker.stores.base import ChangeSet, Conflict, Needs, QuarantineGroup, TenantStore, UplinkUpdate
from tests.support.stores import MOMENT, uplink_row


async def test_an_uplink_is_read_as_it_was_written(tenant: TenantStore) -> None:
    whole = uplink_row("u1", raw=bytes(range(256)), meta={"a.b": {"$c": [1, None, "å"]}, "fCnt": 7})
    bare = uplink_row("u2", device_id=None, frame_key=None, status="rejected", reason="not JSON", raw=b"", meta={})
    await tenant.commit(ChangeSet(uplinks=[whole, bare]))
    assert await tenant.uplink("u1") == whole
    assert await tenant.uplink("u2") == bare
    assert await tenant.uplink("u3") is None


async def test_a_frame_is_known_once_it_was_committed_whatever_became_of_it(tenant: TenantStore) -> None:
    await tenant.commit(
        ChangeSet(uplinks=[uplink_row("u1", frame_key="f1"), uplink_row("u2", frame_key="f2", status="quarantined")])
    )
    assert (await tenant.load(Needs(frames={"f1", "f2", "f3"}))).frames == {"f1", "f2"}


async def test_a_frame_key_is_taken_once(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(uplinks=[uplink_row("u1", frame_key="f")]))
    with pytest.raises(Conflict):
        await tenant.commit(ChangeSet(uplinks=[uplink_row("u2", frame_key="f")]))
    assert await tenant.uplink("u2") is None


async def test_any_number_of_uplinks_may_have_no_frame_key(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(uplinks=[uplink_row(f"u{n}", frame_key=None) for n in range(3)]))
    assert len(await tenant.uplinks()) == 3


async def test_uplinks_are_listed_in_id_order_and_filtered(tenant: TenantStore) -> None:
    rows = [
        uplink_row("u3", device_id="a", status="quarantined"),
        uplink_row("u1", device_id="a"),
        uplink_row("u2", device_id="b", status="quarantined"),
        uplink_row("u4", device_id="a", status="rejected"),
    ]
    await tenant.commit(ChangeSet(uplinks=rows))
    assert [row.id for row in await tenant.uplinks()] == ["u1", "u2", "u3", "u4"]
    assert [row.id for row in await tenant.uplinks(newest_first=True, limit=3)] == ["u4", "u3", "u2"]
    assert [row.id for row in await tenant.uplinks(after="u2", limit=1)] == ["u3"]
    assert [row.id for row in await tenant.uplinks(after="u3", newest_first=True)] == ["u2", "u1"]
    assert [row.id for row in await tenant.uplinks(status="quarantined")] == ["u2", "u3"]
    assert [row.id for row in await tenant.uplinks(device_id="a")] == ["u1", "u3", "u4"]
    assert [row.id for row in await tenant.uplinks(status="applied", device_id="a", after="u0")] == ["u1"]


async def test_a_quarantined_uplink_is_claimed_or_discarded_once(tenant: TenantStore) -> None:
    rows = [uplink_row(name, status="quarantined", reason="unknown device") for name in ("u1", "u2")]
    await tenant.commit(ChangeSet(uplinks=rows))
    await tenant.commit(
        ChangeSet(uplink_updates=[UplinkUpdate("u1", "applied"), UplinkUpdate("u2", "discarded", "a test device")])
    )
    assert await tenant.uplink("u1") == replace(rows[0], status="applied", reason="")
    assert await tenant.uplink("u2") == replace(rows[1], status="discarded", reason="a test device")
    with pytest.raises(Conflict):
        await tenant.commit(ChangeSet(uplink_updates=[UplinkUpdate("u1", "discarded")]))
    await tenant.commit(ChangeSet(uplink_updates=[UplinkUpdate("u2", "quarantined", "again", "discarded")]))
    assert [row.id for row in await tenant.uplinks(status="quarantined")] == ["u2"]


async def test_the_quarantine_is_grouped_by_device_most_recently_heard_first(tenant: TenantStore) -> None:
    def waiting(name: str, device: str | None, at: int, reason: str) -> None:
        rows.append(uplink_row(name, device_id=device, received_at=MOMENT + at, reason=reason, status="quarantined"))

    rows = [uplink_row("u0", received_at=MOMENT + 900)]
    waiting("u1", "a", 10, "older")
    waiting("u2", "b", 50, "unknown device")
    waiting("u3", "a", 30, "newer")
    waiting("u4", None, 20, "no device")
    waiting("u5", "a", 20, "between")
    await tenant.commit(ChangeSet(uplinks=rows))
    assert await tenant.quarantine() == [
        QuarantineGroup("b", 1, MOMENT + 50, MOMENT + 50, "unknown device"),
        QuarantineGroup("a", 3, MOMENT + 10, MOMENT + 30, "newer"),
        QuarantineGroup(None, 1, MOMENT + 20, MOMENT + 20, "no device"),
    ]

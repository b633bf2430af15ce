from __future__ import annotations

from broker.stores.base import Backlog, ChangeSet, TenantStore, Told
from tests.support.stores import MOMENT, outbox_row

ONE, TWO = "urn:sub:1", "urn:sub:2"


async def test_rows_owed_come_in_the_order_of_the_changes(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(outbox=[outbox_row(200, ONE), outbox_row(17, TWO)]))
    await tenant.commit(ChangeSet(outbox=[outbox_row(16, ONE), outbox_row(300, ONE)]))
    assert await tenant.outbox(ONE) == [outbox_row(16, ONE), outbox_row(200, ONE), outbox_row(300, ONE)]
    assert await tenant.outbox(ONE, limit=1) == [outbox_row(16, ONE)]
    assert await tenant.outbox(ONE, after=outbox_row(16, ONE).id, limit=1) == [outbox_row(200, ONE)]
    assert await tenant.outbox_owed() == {ONE: 3, TWO: 1}


async def test_delivered_rows_go(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(outbox=[outbox_row(1, ONE), outbox_row(2, ONE)]))
    await tenant.commit(ChangeSet(delivered=[outbox_row(1, ONE).id]))
    assert await tenant.outbox(ONE) == [outbox_row(2, ONE)]
    await tenant.commit(ChangeSet(delivered=[outbox_row(1, ONE).id, outbox_row(2, ONE).id]))
    assert await tenant.outbox_owed() == {}


async def test_what_is_given_up_on_is_kept_with_the_reason_and_can_be_revived(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(outbox=[outbox_row(n, ONE) for n in (1, 2, 3)]))
    await tenant.commit(ChangeSet(given_up=[(outbox_row(2, ONE).id, "timeout"), (outbox_row(1, ONE).id, "410")]))
    assert await tenant.outbox(ONE) == [outbox_row(3, ONE)]
    assert await tenant.dead_letters(ONE) == [(outbox_row(1, ONE), "410"), (outbox_row(2, ONE), "timeout")]
    assert await tenant.dead_letters(ONE, limit=1) == [(outbox_row(1, ONE), "410")]
    assert await tenant.dead_letters(TWO) == []
    await tenant.commit(ChangeSet(revived=[outbox_row(2, ONE).id]))
    assert await tenant.outbox(ONE) == [outbox_row(2, ONE), outbox_row(3, ONE)]
    assert await tenant.dead_letters(ONE) == [(outbox_row(1, ONE), "410")]


async def test_who_was_told_of_a_change_is_remembered_until_it_is_forgotten(tenant: TenantStore) -> None:
    first, second, other = outbox_row(1, ONE), outbox_row(1, TWO), outbox_row(2, ONE)
    assert first.entity_id == second.entity_id == other.entity_id
    await tenant.commit(ChangeSet(outbox=[first, second, other]))
    await tenant.commit(ChangeSet(delivered=[second.id], delivered_at=MOMENT + 5))
    await tenant.commit(ChangeSet(delivered=[first.id, other.id], delivered_at=MOMENT + 9))
    await tenant.commit(ChangeSet(delivered=[first.id], delivered_at=MOMENT + 11))
    told = [Told(TWO, second.created_at, MOMENT + 5), Told(ONE, first.created_at, MOMENT + 9)]
    assert await tenant.told(first.entity_id, 1) == told
    assert await tenant.told(first.entity_id, 2) == [Told(ONE, other.created_at, MOMENT + 9)]
    assert await tenant.told("urn:e:nobody", 1) == []
    assert await tenant.forget_told(MOMENT + 9) == 1
    assert await tenant.told(first.entity_id, 1) == told[1:]


async def test_what_is_dropped_was_told_to_nobody(tenant: TenantStore) -> None:
    row = outbox_row(1, ONE)
    await tenant.commit(ChangeSet(outbox=[row]))
    await tenant.commit(ChangeSet(delivered=[row.id]))
    assert await tenant.told(row.entity_id, 1) == []


async def test_a_backlog_is_counted_by_subscription_with_its_oldest_row_and_dead_letters(tenant: TenantStore) -> None:
    rows = [outbox_row(n, ONE) for n in (1, 2, 3)] + [outbox_row(9, TWO)]
    await tenant.commit(ChangeSet(outbox=rows))
    await tenant.commit(ChangeSet(given_up=[(rows[0].id, "410")]))
    one, two = Backlog(2, rows[1].created_at, 1), Backlog(1, rows[3].created_at, 0)
    assert await tenant.backlogs() == {ONE: one, TWO: two}
    assert await tenant.backlogs([ONE, "urn:sub:none"]) == {ONE: one}
    await tenant.commit(ChangeSet(delivered=[rows[1].id, rows[2].id]))
    assert await tenant.backlogs([ONE]) == {ONE: Backlog(0, None, 1)}


async def test_dead_letters_come_page_by_page(tenant: TenantStore) -> None:
    rows = [outbox_row(n, ONE) for n in range(5)]
    await tenant.commit(ChangeSet(outbox=rows))
    await tenant.commit(ChangeSet(given_up=[(row.id, "410") for row in rows]))
    assert await tenant.dead_letters(ONE, after=rows[1].id, limit=2) == [(rows[2], "410"), (rows[3], "410")]
    assert await tenant.dead_letters(ONE, after=rows[4].id) == []


async def test_who_holds_a_lease_can_be_asked(tenant: TenantStore) -> None:
    assert await tenant.lease("delivery:a", "one", 60)
    assert await tenant.lease("delivery:b", "one", 60)
    await tenant.release(["delivery:b"], "one")
    # An embedded store has one process, and no leases.
    assert await tenant.lease_holders(["delivery:a", "delivery:b"]) in ({}, {"delivery:a": "one"})

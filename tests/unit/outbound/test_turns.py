"""Turns at endpoints: what hangs holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from broker import metrics
from broker.config import Delivery
from broker.outbound import HostResting, Outbound, TimedOut
from broker.outbound.breaker import FAILURES
from broker.outbound.turns import Outcome, Resting, Turns
from tests.support.receiver import Receiver, never, receiving

SECONDS = 10.0


class Time:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@asynccontextmanager
async def turns(connections: int = 100, host_connections: int = 8) -> AsyncIterator[tuple[Turns, Time]]:
    time = Time()
    made = Turns(connections, host_connections, time)
    yield made, time
    made.close()


async def go(made: Turns, host: str, path: str, outcome: Outcome) -> None:
    async with asyncio.timeout(5):
        (await made.begin(host, host + path, SECONDS)).end(outcome)


async def hang(stack: AsyncExitStack, made: Turns, host: str, path: str) -> asyncio.Task[None]:
    """A request that is under way, or waits for its turn, until the stack is closed."""

    async def wait() -> None:
        turn = await made.begin(host, host + path, SECONDS)
        try:
            await asyncio.Event().wait()
        finally:
            turn.end(None)

    task = asyncio.create_task(wait())
    stack.callback(task.cancel)
    await asyncio.sleep(0)
    return task


async def test_a_thousand_dead_hosts_leave_room_for_the_others() -> None:
    async with turns(connections=100) as (made, _), AsyncExitStack() as stack:
        await go(made, "http://fine", "/", "answered")
        for number in range(1000):
            await go(made, f"http://dead{number}", "/", "unreachable")
        for number in range(1000):
            await hang(stack, made, f"http://dead{number}", "/")
        await go(made, "http://fine", "/", "answered")
        await go(made, "http://never-seen", "/", "answered")


async def test_silent_neighbours_on_a_host_leave_room_for_the_others() -> None:
    async with turns(host_connections=8) as (made, _), AsyncExitStack() as stack:
        await go(made, "http://host", "/fine", "answered")
        for number in range(100):
            await go(made, "http://host", f"/silent{number}", "silent")
        for number in range(100):
            await hang(stack, made, "http://host", f"/silent{number}")
        await go(made, "http://host", "/fine", "answered")
        await go(made, "http://host", "/never-seen", "answered")


async def test_an_endpoint_that_did_not_answer_gets_one_request_at_a_time_until_it_does() -> None:
    async with turns() as (made, _), AsyncExitStack() as stack:
        entered = 0

        async def one() -> None:
            nonlocal entered
            turn = await made.begin("http://host", "http://host/a", SECONDS)
            entered += 1
            await first_may_go.wait()
            turn.end("answered")

        first_may_go = asyncio.Event()
        tasks = [asyncio.create_task(one()) for _ in range(6)]
        stack.callback(lambda: [task.cancel() for task in tasks])
        await asyncio.sleep(0.01)
        assert entered == 1
        first_may_go.set()
        await asyncio.gather(*tasks)
        again = [await hang(stack, made, "http://host", "/a") for _ in range(6)]
        assert metrics.outbound_requests.labels("proven")._value.get() >= len(again)


async def test_a_host_that_cannot_be_connected_to_rests_for_all_and_a_silent_endpoint_for_itself() -> None:
    async with turns() as (made, time):
        for _ in range(FAILURES):
            await go(made, "http://host", "/silent", "silent")
        with pytest.raises(Resting, match="http://host/silent"):
            await go(made, "http://host", "/silent", "silent")
        await go(made, "http://host", "/fine", "answered")
        for _ in range(FAILURES):
            await go(made, "http://host", "/fine", "unreachable")
        with pytest.raises(Resting) as resting:
            await go(made, "http://host", "/other", "answered")
        assert resting.value.name == "http://host"
        time.at += resting.value.seconds
        await go(made, "http://host", "/other", "answered")
        await go(made, "http://host", "/fine", "answered")


async def test_another_ones_short_patience_does_not_make_an_endpoint_rest() -> None:
    async with turns() as (made, _):
        for _ in range(FAILURES):
            (await made.begin("http://host", "http://host/a", 0.001)).end("silent")
        await go(made, "http://host", "/a", "answered")


async def test_what_rests_is_counted_until_it_is_back() -> None:
    def resting() -> float:
        value: float = metrics.outbound_resting.labels("hosts")._value.get()
        return value

    before = resting()
    async with turns() as (made, time):
        for host in ("http://one", "http://two"):
            for _ in range(FAILURES):
                await go(made, host, "/", "unreachable")
        assert resting() == before + 2
        time.at += 60
        await go(made, "http://one", "/", "answered")
        assert resting() == before + 1
    assert resting() == before


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def test_a_silent_endpoint_does_not_delay_another_at_the_same_address(receiver: Receiver) -> None:
    async with Outbound(Delivery(host_connections=2)) as outbound:
        assert (await outbound.post(receiver.url("/fine"), b"{}", {}, 5)).ok
        receiver.script.extend([never] * FAILURES)
        for _ in range(FAILURES):
            with pytest.raises(TimedOut):
                await outbound.post(receiver.url("/silent"), b"{}", {}, 0.05)
        with pytest.raises(HostResting):
            await outbound.post(receiver.url("/silent?with=query"), b"{}", {}, 0.05)
        assert (await outbound.post(receiver.url("/fine"), b"{}", {}, 5)).ok

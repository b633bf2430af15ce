from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.ticket import SECONDS, Ticket, Tickets, new_ticket
from broker.clock import SECOND
from broker.errors import Unauthorized

NOW = 1_800_000_000 * SECOND


def ticket(*, granted: bool = False) -> Ticket:
    return new_ticket("a", NOW, tenant="village", granted=granted, context="https://city.example/context.jsonld")


def test_a_ticket_says_on_every_process_what_it_was_asked_for_with() -> None:
    text = Tickets("token", "personal").write(ticket(granted=True))
    assert Tickets("token", "personal").read(text, NOW) == ticket(granted=True)
    assert text.isascii() and "=" not in text


def test_a_ticket_runs_out() -> None:
    tickets = Tickets("token", "")
    text = tickets.write(ticket())
    assert tickets.read(text, NOW + SECONDS * SECOND - 1)
    with pytest.raises(Unauthorized, match="run out"):
        tickets.read(text, NOW + SECONDS * SECOND)


def test_who_knows_only_one_of_the_tokens_makes_no_ticket() -> None:
    text = Tickets("token", "").write(ticket(granted=True))
    with pytest.raises(Unauthorized):
        Tickets("token", "personal").read(text, NOW)


@given(st.integers(0, 10_000), st.text(alphabet="ABCDEFabcdef0123_-", min_size=1, max_size=3))
def test_a_ticket_that_was_changed_is_not_valid(place: int, other: str) -> None:
    tickets = Tickets("token", "")
    text = tickets.write(ticket())
    at = place % len(text)
    changed = text[:at] + other + text[at + len(other) :]
    # The last character has bits that mean nothing.
    if changed[:-1] == text[:-1]:
        return
    with pytest.raises(Unauthorized):
        tickets.read(changed, NOW)


@given(st.text())
def test_any_text_is_no_ticket(text: str) -> None:
    with pytest.raises(Unauthorized):
        Tickets("token", "").read(text, NOW)

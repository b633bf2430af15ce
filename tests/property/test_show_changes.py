"""What was there before, as notifications report it, put into the new state gives the old one (5.8.6, showChanges)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.change import EntityChange
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBER, Entity, Instance
from broker.subscriptions.model import UNLIMITED
from broker.subscriptions.notify import render_notification
from broker.subscriptions.owed import coalesce, owed, read_owed
from broker.subscriptions.subscription import compile_subscription
from tests.unit.subscriptions.support import CORE, ENDPOINT, NOW, STAMP, changed, created, iri, parsed

WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text("abc", min_size=1, max_size=3)
URIS = TEXTS.map(lambda text: f"urn:x:{text}")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Property": st.one_of(WHOLE, st.booleans(), TEXTS, st.lists(WHOLE, max_size=2)),
    "Relationship": URIS,
    "LanguageProperty": st.dictionaries(st.sampled_from(["sv", "en"]), TEXTS, min_size=1),
    "VocabProperty": TEXTS.map(iri),
    "JsonProperty": st.dictionaries(TEXTS, WHOLE | st.none(), max_size=2),
    "ListProperty": st.lists(WHOLE, max_size=2),
    "ListRelationship": st.lists(URIS, max_size=2),
}


@st.composite
def instances(draw: st.DrawFn) -> list[Instance]:
    made = []
    for dataset in draw(st.lists(st.sampled_from(["", "urn:x:d1", "urn:x:d2"]), min_size=1, unique=True)):
        kind = draw(st.sampled_from(sorted(VALUES)))
        one: dict[str, Any] = {"type": kind, VALUE_MEMBER[kind]: draw(VALUES[kind])}
        if dataset:
            one["datasetId"] = dataset
        made.append({**one, "createdAt": STAMP.text, "modifiedAt": STAMP.text})
    return made  # type: ignore[return-value]


@st.composite
def states(draw: st.DrawFn) -> Entity:
    attributes = draw(st.dictionaries(st.sampled_from(["a", "b", "c"]), instances()))
    return {
        "id": "urn:x:Room:1",
        "type": [iri("Room")],
        "createdAt": STAMP.text,
        "modifiedAt": STAMP.text,
        "attrs": {iri(name): held for name, held in attributes.items()},
    }


def shown(changes: list[EntityChange], **notification: Any) -> dict[str, Any]:
    body = parsed(notification={**ENDPOINT, **notification})
    rows = [owed(change, "urn:x:new", number, NOW, 0, previous=True) for number, change in enumerate(changes)]
    payload, _ = render_notification(
        compile_subscription(body, UNLIMITED), coalesce([read_owed(row) for row in rows]), CORE
    )
    assert payload is not None
    (one,) = payload["data"]
    assert isinstance(one, dict)
    return one


def values(rendered: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """(attribute, datasetId) -> (value member, value), of a normalized entity."""
    return {(name, one.get("datasetId", "")): current(one) for name, one in flat(rendered) if current(one) is not None}


def flat(rendered: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, one)
        for name, held in rendered.items()
        if name not in ("id", "type")
        for one in (held if isinstance(held, list) else [held])
    ]


def current(one: dict[str, Any]) -> tuple[str, Any] | None:
    member = VALUE_MEMBER[one["type"]]
    gone = one[member] in (NGSI_LD_NULL, [NGSI_LD_NULL], {"@none": NGSI_LD_NULL})
    return None if gone else (member, one[member])


def before(rendered: dict[str, Any], made: set[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """The values as they were: what is reported of each instance, else what it is; but for those that were made."""
    found = {}
    for name, one in flat(rendered):
        key = (name, one.get("datasetId", ""))
        reported = [member for member in one if member.startswith("previous")]
        if reported:
            member = reported[0].removeprefix("previous")
            found[key] = (member[0].lower() + member[1:], one[reported[0]])
        elif key not in made and (value := current(one)) is not None:
            found[key] = value
    return found


@given(st.lists(states(), min_size=2, max_size=4))
def test_previous_values_give_the_old_state_back(history: list[Entity]) -> None:
    changes = [changed(one, other) for one, other in pairwise(history)]
    old = values(shown([created(history[0])]))
    new = values(shown([created(history[-1])]))
    notified = shown(changes, showChanges=True)
    assert values(notified) == new
    # What is new has nothing before it; of what was there all along, it is what it is.
    assert before(notified, new.keys() - old.keys()) == old

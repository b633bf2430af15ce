"""What of a change is told to a receiver: alarms that begin and end, conditions that become true and end. Pure.

A condition is told at its edge: when a change makes it true, not at each change after it. What was true before the receiver
was there is not told before it was false once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from broker.clock import Micros, parse_iso
from broker.config import Limits
from broker.ngsild.change import EntityChange
from broker.ngsild.model import DEFAULT_VOCAB, Entity, Instance, Iri, default_instance, value_of
from broker.query.ast import EntityQuery, HasType
from broker.query.match import compile_query
from broker.query.q import parse_q
from broker.subscriptions.receivers.model import SEVERITIES, AlarmRule, Receiver, Severity, ThresholdRule, as_receiver

ALERT: Final[Iri] = DEFAULT_VOCAB + "Alert"
_SEVERITY: Final[Iri] = DEFAULT_VOCAB + "severity"
_KIND: Final[Iri] = DEFAULT_VOCAB + "subCategory"
_STATE: Final[Iri] = DEFAULT_VOCAB + "alarmState"
_SOURCE: Final[Iri] = DEFAULT_VOCAB + "alertSource"
_SINCE: Final[Iri] = DEFAULT_VOCAB + "validFrom"
_BECAUSE: Final[Iri] = DEFAULT_VOCAB + "closedBecause"
# These two are terms of the core @context.
_DESCRIPTION: Final[Iri] = "http://purl.org/dc/terms/description"
_DATA: Final[Iri] = "https://uri.etsi.org/ngsi-ld/data"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell."""

    what: Literal["alarm", "threshold"]
    ended: bool
    severity: Severity
    about: str
    """Id of the entity that it is about."""
    at: Micros
    """When it became known."""
    since: Micros | None
    """When it began, where that is known."""
    kind: str
    """Of an alarm; a threshold's rule."""
    text: str
    """As the alarm says it, or the rule; '' where it says nothing."""
    data: dict[str, Any]
    """What was measured, and the limit; of a condition, the attributes in it and their values."""
    because: str
    """Why an alarm is over."""
    alert: str
    """Id of the alarm's entity; '' of a condition."""
    places: tuple[str, ...]
    """Told only where the entity is, or is within, one of these; empty: everywhere."""
    types: tuple[Iri, ...]
    """Told only of entities of one of these types; empty: all."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A threshold, compiled."""

    rule: ThresholdRule
    type: Iri
    names: tuple[tuple[str, Iri], ...]
    """The attributes in q: (as written, expanded)."""
    holds: Callable[[Entity], bool]


@dataclass(frozen=True, slots=True)
class Rules:
    """A receiver, ready for use."""

    receiver: Receiver
    types: tuple[Iri, ...]
    """Entities of other types tell it nothing."""
    alarm_types: tuple[Iri, ...]
    conditions: tuple[Condition, ...]

    def tells(self, change: EntityChange) -> bool:
        """Whether there is something to tell of a change (as far as the change alone says)."""
        after = change.after
        if after is None:
            return False
        rule = self.receiver.alarms
        if rule is not None and ALERT in after["type"] and _alarm_told(rule, change.before, after) is not None:
            return True
        return any(edge is not None for _, edge in self._edges(change.before, after))

    def events(self, before: Entity | None, after: Entity, at: Micros) -> list[Event]:
        """What there is to tell. `before` need have no more than the values that changed."""
        found = []
        rule = self.receiver.alarms
        if rule is not None and ALERT in after["type"]:
            ended = _alarm_told(rule, before, after)
            if ended is not None:
                found.append(_of_alarm(rule, self.alarm_types, after, at, ended=ended))
        for condition, edge in self._edges(before, after):
            if edge is not None:
                found.append(_of_condition(condition, after, at, ended=edge == "ended"))
        return found

    def _edges(
        self, before: Entity | None, after: Entity
    ) -> Iterator[tuple[Condition, Literal["begun", "ended"] | None]]:
        for condition in self.conditions:
            if condition.type not in after["type"]:
                continue
            is_so, was_so = condition.holds(after), before is not None and condition.holds(before)
            if is_so and not was_so:
                yield condition, "begun"
            elif was_so and not is_so and condition.rule.ended:
                yield condition, "ended"
            else:
                yield condition, None


def compile_rules(body: dict[str, Any], limits: Limits) -> Rules:
    """The rules of a receiver's record. Raises BadRequestData, TooComplexQuery for a q that cannot be."""
    return make_rules(as_receiver(body), body["terms"].__getitem__, limits)


def make_rules(receiver: Receiver, expand: Callable[[str], Iri], limits: Limits) -> Rules:
    """The same from a document; `expand` gives the IRI of a name."""
    conditions = tuple(_condition(rule, expand, limits) for rule in receiver.thresholds)
    types = [condition.type for condition in conditions]
    if receiver.alarms is not None:
        types.append(ALERT)
    alarm_types = tuple(map(expand, receiver.alarms.types)) if receiver.alarms is not None else ()
    return Rules(receiver, tuple(dict.fromkeys(types)), alarm_types, conditions)


def _condition(rule: ThresholdRule, expand: Callable[[str], Iri], limits: Limits) -> Condition:
    names: dict[str, Iri] = {}

    def noted(term: str) -> Iri:
        names[term] = iri = expand(term)
        return iri

    q = parse_q(rule.q, noted, limits)
    kind = expand(rule.type)
    return Condition(rule, kind, tuple(names.items()), compile_query(EntityQuery(types=HasType(kind), q=q)))


def entity_before(after: Entity, created: bool, previous: dict[Iri, dict[str, Instance | None]]) -> Entity | None:
    """The entity before a change, as far as `previous` (what each instance was that changed) says it."""
    if created:
        return None
    attrs = dict(after["attrs"])
    for name, was in previous.items():
        kept = [one for one in attrs.get(name, ()) if one.get("datasetId", "") not in was]
        back = [
            {**one, **({"datasetId": dataset} if dataset else {})} for dataset, one in was.items() if one is not None
        ]
        if kept or back:
            attrs[name] = [*kept, *back]  # type: ignore[list-item]  # without the times, which no rule asks for
        else:
            attrs.pop(name, None)
    return {**after, "attrs": attrs}


def _alarm_told(rule: AlarmRule, before: Entity | None, after: Entity) -> bool | None:
    """None: it is not told. False: it has begun. True: it is over."""
    severity, kind = _value(after, _SEVERITY), _value(after, _KIND)
    if severity not in SEVERITIES or SEVERITIES.index(severity) < SEVERITIES.index(rule.severity):
        return None
    if rule.kinds and kind not in rule.kinds:
        return None
    closed = _value(after, _STATE) == "closed"
    if before is None:
        return None if closed else False
    return True if rule.ended and closed and _value(before, _STATE) != "closed" else None


def _of_alarm(rule: AlarmRule, types: tuple[Iri, ...], alert: Entity, at: Micros, *, ended: bool) -> Event:
    data = _value(alert, _DATA)
    source = _value(alert, _SOURCE)
    return Event(
        what="alarm",
        ended=ended,
        severity=_value(alert, _SEVERITY),
        about=source if isinstance(source, str) else alert["id"],
        at=at,
        since=_moment(_value(alert, _SINCE)),
        kind=str(_value(alert, _KIND)),
        text=str(_value(alert, _DESCRIPTION) or ""),
        data=data if isinstance(data, dict) else {},
        because=str(_value(alert, _BECAUSE) or "") if ended else "",
        alert=alert["id"],
        places=rule.places,
        types=types,
    )


def _of_condition(condition: Condition, entity: Entity, at: Micros, *, ended: bool) -> Event:
    rule = condition.rule
    values = {written: _value(entity, name) for written, name in condition.names}
    return Event(
        what="threshold",
        ended=ended,
        severity=rule.severity,
        about=entity["id"],
        at=at,
        since=None,
        kind=rule.id,
        text=rule.text,
        data={"q": rule.q, "values": {name: value for name, value in values.items() if value is not None}},
        because="",
        alert="",
        places=rule.places,
        types=(),
    )


def _value(entity: Entity, name: Iri) -> Any:
    instance = default_instance(entity["attrs"].get(name, []))
    return value_of(instance) if instance is not None else None


def _moment(value: Any) -> Micros | None:
    text = value.get("@value") if isinstance(value, dict) else value
    return parse_iso(text) if isinstance(text, str) else None

"""The parameter `type` of operations on one entity: it is meant only if it is of these types (4.17; e.g. 6.6.3.2)."""

from __future__ import annotations

from collections.abc import Callable

from broker.config import Limits
from broker.entities.commands import ChangeEntity
from broker.errors import ResourceNotFound
from broker.ngsild.merge import Outcome
from broker.ngsild.model import Entity
from broker.ngsild.names import Names
from broker.query.ast import EntityQuery
from broker.query.match import compile_query
from broker.query.types import parse_types


def check_type(entity: Entity, selection: str | None, names: Names, limits: Limits) -> None:
    """Raises ResourceNotFound when the entity is not of the selected types, BadRequestData for a bad selection."""
    if selection is not None:
        type_check(selection, names, limits)(entity)


def type_check(selection: str, names: Names, limits: Limits) -> Callable[[Entity], None]:
    """What raises ResourceNotFound for an entity that is not of the selected types. BadRequestData for a bad selection."""
    selected = compile_query(EntityQuery(types=parse_types(selection, names.expand, limits)))

    def check(entity: Entity) -> None:
        if not selected(entity):
            raise ResourceNotFound(f"The entity '{entity['id']}' is not of the type '{selection[:100]}'.")

    return check


def of_type(command: ChangeEntity, selection: str | None, names: Names, limits: Limits) -> ChangeEntity:
    """`command`, refused with ResourceNotFound when the entity is not of the selected types."""
    if selection is None:
        return command
    check = type_check(selection, names, limits)

    def rule(entity: Entity, at: str) -> Outcome:
        check(entity)
        return command.rule(entity, at)

    return ChangeEntity(command.entity_id, rule)

"""Geo queries as functions on an entity (ETSI GS CIM 009 v1.9.1, 4.10); the rules are in `broker.query.match`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from broker.ngsild.model import Entity
from broker.query.ast import GeoQuery
from broker.query.geometry import distance, haversine, position_of, shape_of

# How a target relates to the reference, asked of the prepared reference where it has the inverse.
_RELATIONS: dict[str, Callable[[BaseGeometry, BaseGeometry], bool]] = {
    "within": lambda reference, target: bool(reference.contains(target)),
    "contains": lambda reference, target: bool(reference.within(target)),
    "overlaps": lambda reference, target: bool(reference.overlaps(target)),
    "intersects": lambda reference, target: bool(reference.intersects(target)),
    "disjoint": lambda reference, target: bool(reference.disjoint(target)),
    "equals": lambda reference, target: bool(reference.equals(target)),
}


def compile_geo(geo: GeoQuery) -> Callable[[Entity], bool]:
    """The geo query as a function on an entity. Raises ValueError when its geometry is not valid."""
    shared = shape_of(geo.geometry)
    if shared is None:
        raise ValueError(f"not a valid geometry: {geo.geometry}")
    # A copy: what is prepared builds indexes while it is used, and the shared one may be in use in another thread.
    reference = shapely.from_wkb(shapely.to_wkb(shared))
    shapely.prepare(reference)
    test = _near(geo, reference) if geo.relation == "near" else _related(geo, reference)
    name = geo.geoproperty

    def holds(entity: Entity) -> bool:
        return any(
            instance["type"] == "GeoProperty" and test(instance.get("value"))
            for instance in entity["attrs"].get(name, ())
        )

    return holds


def _near(geo: GeoQuery, reference: BaseGeometry) -> Callable[[Any], bool]:
    centre = position_of(geo.geometry)
    most = geo.max_distance if geo.max_distance is not None else float("inf")
    least = geo.min_distance if geo.min_distance is not None else -1.0

    def test(value: Any) -> bool:
        position = position_of(value)
        if position is not None and centre is not None:
            metres = haversine(centre, position)
        else:
            target = shape_of(value)
            if target is None:
                return False
            metres = distance(reference, target)
        return least < metres <= most

    return test


def _related(geo: GeoQuery, reference: BaseGeometry) -> Callable[[Any], bool]:
    relation = _RELATIONS[geo.relation]

    def test(value: Any) -> bool:
        target = shape_of(value)
        if target is None:
            return False
        try:
            return relation(reference, target)
        except shapely.errors.GEOSException:
            return False  # a pair that GEOS cannot relate has no relation

    return test

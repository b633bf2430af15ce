"""Subscriptions of one place in the index, filed by their guards (`guard.py`): an entity finds those that share a key with it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from broker.ngsild.model import Entity, Iri
from broker.subscriptions.guard import Guard, Key, Shape, keys_of, subject
from broker.subscriptions.subscription import Subscription

_Filed = dict[str, Subscription]
_BOUNDS = (">", "<")


class Bucket:
    """Adding, removing and finding cost the same however many there are."""

    def __init__(self) -> None:
        self._filed: dict[Key, _Filed] = {}
        self._shapes: dict[Iri, Counter[Shape]] = {}
        """By the attribute an entity must have ('': none in particular): the shapes of the keys, and how many there are."""
        self._bounds: dict[Shape, list[Any]] = {}
        """Of shapes that are bounds: those there are, in order."""

    def __bool__(self) -> bool:
        return bool(self._filed)

    def add(self, subscription: Subscription, guard: Guard) -> None:
        """File it; not for one that is there."""
        for key in guard:
            if key[0][0] in _BOUNDS and key not in self._filed:
                insort(self._bounds.setdefault(key[0], []), key[1])
            self._filed.setdefault(key, {})[subscription.id] = subscription
            self._shapes.setdefault(subject(key[0]), Counter())[key[0]] += 1

    def remove(self, subscription_id: str, guard: Guard) -> None:
        """Take out one that was filed with this guard."""
        for key in guard:
            filed = self._filed[key]
            del filed[subscription_id]
            if not filed:
                del self._filed[key]
                if key[0][0] in _BOUNDS:
                    bounds = self._bounds[key[0]]
                    del bounds[bisect_left(bounds, key[1])]
                    if not bounds:
                        del self._bounds[key[0]]
            shape, about = key[0], subject(key[0])
            shapes = self._shapes[about]
            shapes[shape] -= 1
            if not shapes[shape]:
                del shapes[shape]
                if not shapes:
                    del self._shapes[about]

    def find(self, entity: Entity) -> Iterator[_Filed]:
        """What is filed under the keys that the entity has: every subscription that selects it, and few others."""
        for shape in self._asked(entity):
            for key in keys_of(entity, shape):
                if shape[0] in _BOUNDS:
                    for bound in self._within(shape, key[1]):
                        yield self._filed[shape, bound]
                elif key[1] is None and shape[0] == "@":
                    yield from (filed for other, filed in self._filed.items() if other[0] == shape)
                elif (filed := self._filed.get(key)) is not None:
                    yield filed

    def _within(self, shape: Shape, value: Any) -> list[Any]:
        """The bounds that are not beyond the value."""
        bounds = self._bounds[shape]
        return bounds[: bisect_right(bounds, value)] if shape[0] == ">" else bounds[bisect_left(bounds, value) :]

    def _asked(self, entity: Entity) -> Iterable[Shape]:
        if len(self._shapes) == 1 and "" in self._shapes:
            return self._shapes[""]
        abouts = [name for name in ("", *entity["attrs"]) if name in self._shapes]
        return [shape for about in abouts for shape in self._shapes[about]]

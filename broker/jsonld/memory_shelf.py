"""A shelf that forgets at the end of the process: for a resolver without a store."""

from __future__ import annotations

from broker.jsonld.stored import StoredContext, Use


class MemoryShelf:
    """Satisfies `broker.jsonld.stored.Shelf`."""

    def __init__(self) -> None:
        self._contexts: dict[str, StoredContext] = {}
        self._uses: dict[str, Use] = {}
        self._epoch = 0

    async def get(self, context_id: str) -> StoredContext | None:
        """One, or None."""
        return self._contexts.get(context_id)

    async def put(self, context: StoredContext) -> None:
        """Keep it."""
        self._contexts[context.id] = context
        self._epoch += 1

    async def remove(self, context_id: str) -> bool:
        """Remove it; False when it was not there."""
        self._uses.pop(context_id, None)
        self._epoch += 1
        return self._contexts.pop(context_id, None) is not None

    async def page(self, after: str, limit: int) -> list[StoredContext]:
        """In order of ids."""
        return [self._contexts[name] for name in sorted(self._contexts) if name > after][:limit]

    async def epoch(self) -> int:
        """The number of changes."""
        return self._epoch

    async def used(self, context_id: str) -> Use:
        """Its use."""
        return self._uses.get(context_id, Use())

    async def add_uses(self, uses: dict[str, Use]) -> None:
        """Count more."""
        for name, more in uses.items():
            before = self._uses.get(name, Use())
            self._uses[name] = Use(before.hits + more.hits, max(before.last, more.last))

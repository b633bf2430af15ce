"""What the driver raises, in the words of the store's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from broker.errors import PayloadTooLarge, StoreUnavailable
from broker.stores.base import Conflict

TRANSIENT: Final = "TransientTransactionError"
UNKNOWN_RESULT: Final = "UnknownTransactionCommitResult"
_DUPLICATE_KEY: Final = 11000
_WRITE_CONFLICT: Final = 112
_ENDED: Final = frozenset({225, 251, 11601})
"""TransactionTooOld, NoSuchTransaction, Interrupted: the session was ended, by another process or by the server."""
_REFUSED: Final = frozenset({13, 18})  # Unauthorized, AuthenticationFailed


@contextmanager
def translated() -> Iterator[None]:
    """Raises Conflict, StoreUnavailable and PayloadTooLarge for what the driver raises within; the rest goes through."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, WTimeoutError):
        raise StoreUnavailable("The store cannot be reached just now; try again shortly.") from None
    except DocumentTooLarge:
        raise PayloadTooLarge("An entity, record or message is larger than the 16 MB that the store keeps.") from None
    except PyMongoError as error:
        if is_conflict(error):
            raise Conflict("Another process changed what this change set expected.") from error
        if isinstance(error, OperationFailure) and error.code in _REFUSED:
            raise StoreUnavailable(
                "The store does not let this broker in: see the user and password of store.url."
            ) from error
        if error.has_error_label(UNKNOWN_RESULT):
            raise StoreUnavailable("The store did not confirm the commit in time; try again shortly.") from None
        raise


def is_conflict(error: PyMongoError) -> bool:
    """Whether another was first (a key that is taken, MongoDB's own write conflict) or our transaction was ended."""
    if isinstance(error, DuplicateKeyError) or error.has_error_label(TRANSIENT):
        return True
    if isinstance(error, OperationFailure) and error.code in _ENDED:
        return True
    if isinstance(error, BulkWriteError):
        codes = {failed.get("code") for failed in error.details.get("writeErrors", ())}
        return bool(codes & {_DUPLICATE_KEY, _WRITE_CONFLICT})
    return False

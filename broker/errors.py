"""The error family: what can be answered to a request or said of an uplink.

House language: `detail` says what was wrong, where, and what would be right, in one sentence that quotes the offending
name. No stack traces, driver names, paths or secrets. Types and titles are NGSI-LD's (ETSI GS CIM 009 v1.9.1, 5.5.2 and
6.3.2) where it has one, otherwise ours under the same shape (RFC 7807).
"""

from __future__ import annotations

NGSI_LD_ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"
KNUTPUNKT_ERRORS = "urn:knutpunkt:error:"


class BrokerError(Exception):
    """Base of everything that is answered as a ProblemDetail. `detail` is meant for the person who sent the request."""

    type: str = NGSI_LD_ERRORS + "InternalError"
    title: str = "Internal error"
    status: int = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def problem(self) -> dict[str, object]:
        """The ProblemDetail body: `type`, `title`, `detail`, `status`."""
        return {"type": self.type, "title": self.title, "detail": self.detail, "status": self.status}


class InternalError(BrokerError):
    """Something of ours failed; the log has it under the request id."""


class InvalidRequest(BrokerError):
    """The request is not syntactically valid: unparsable JSON, an unknown parameter."""

    type = NGSI_LD_ERRORS + "InvalidRequest"
    title = "Invalid request"
    status = 400


class BadRequestData(BrokerError):
    """The request's content breaks a rule of the data model."""

    type = NGSI_LD_ERRORS + "BadRequestData"
    title = "Bad request data"
    status = 400


class AlreadyExists(BrokerError):
    """What should be created is there already."""

    type = NGSI_LD_ERRORS + "AlreadyExists"
    title = "Already exists"
    status = 409


class Conflict(BrokerError):
    """The state of things does not allow it; the text says what must be done first."""

    type = NGSI_LD_ERRORS + "Conflict"
    title = "Conflict"
    status = 409


class OperationNotSupported(BrokerError):
    """The operation is not supported."""

    type = NGSI_LD_ERRORS + "OperationNotSupported"
    title = "Operation not supported"
    status = 422


class ResourceNotFound(BrokerError):
    """What the request names does not exist."""

    type = NGSI_LD_ERRORS + "ResourceNotFound"
    title = "Resource not found"
    status = 404


class TooComplexQuery(BrokerError):
    """The query exceeds a complexity limit."""

    type = NGSI_LD_ERRORS + "TooComplexQuery"
    title = "Query too complex"
    status = 403


class TooManyResults(BrokerError):
    """The query would give too many results."""

    type = NGSI_LD_ERRORS + "TooManyResults"
    title = "Too many results"
    status = 403


class LdContextNotAvailable(BrokerError):
    """A remote JSON-LD @context could not be had (5.5.5; HTTP 504 since v1.9.1)."""

    type = NGSI_LD_ERRORS + "LdContextNotAvailable"
    title = "JSON-LD @context not available"
    status = 504


class NonexistentTenant(BrokerError):
    """The tenant named does not exist."""

    type = NGSI_LD_ERRORS + "NonexistentTenant"
    title = "Tenant does not exist"
    status = 404


class Unauthorized(BrokerError):
    """No token, or not one of ours."""

    type = KNUTPUNKT_ERRORS + "Unauthorized"
    title = "Unauthorized"
    status = 401


class AccessDenied(BrokerError):
    """The token is valid and does not suffice. The standard knows no such error (5.5.2); ours has its naming."""

    type = KNUTPUNKT_ERRORS + "AccessDenied"
    title = "Access denied"
    status = 403


class PayloadTooLarge(BrokerError):
    """A body exceeds its limit."""

    type = KNUTPUNKT_ERRORS + "PayloadTooLarge"
    title = "Payload too large"
    status = 413


class UnsupportedMediaType(BrokerError):
    """A body's content type is not one the route takes."""

    type = KNUTPUNKT_ERRORS + "UnsupportedMediaType"
    title = "Unsupported media type"
    status = 415


class NotAcceptable(BrokerError):
    """No representation the route has satisfies Accept."""

    type = KNUTPUNKT_ERRORS + "NotAcceptable"
    title = "Not acceptable"
    status = 406


class MethodNotAllowed(BrokerError):
    """The resource exists, the method does not apply to it."""

    type = KNUTPUNKT_ERRORS + "MethodNotAllowed"
    title = "Method not allowed"
    status = 405


class PreconditionFailed(BrokerError):
    """A condition of the request (If-Match, an expected state) does not hold."""

    type = KNUTPUNKT_ERRORS + "PreconditionFailed"
    title = "Precondition failed"
    status = 412


class Overloaded(BrokerError):
    """The writer is behind: try again after `retry_after` seconds. Nothing was applied."""

    type = KNUTPUNKT_ERRORS + "Overloaded"
    title = "Overloaded"
    status = 503

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class OutOfStep(Overloaded):
    """This process is not in step with the others. Nothing was applied."""


class StoreUnavailable(Overloaded):
    """The store cannot be reached or cannot commit just now. Nothing was applied."""

    type = KNUTPUNKT_ERRORS + "StoreUnavailable"
    title = "Store unavailable"

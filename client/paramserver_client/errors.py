"""Everything a call can raise, one class per problem code, grouped as TensorFlow groups its errors.

    ParameterServerError
    ├── InvalidArgumentError            the request cannot be right, whatever the server's state
    │   ├── MalformedBodyError          malformed_body
    │   ├── NotAcceptableError          not_acceptable
    │   ├── UnsupportedMediaTypeError   unsupported_media_type
    │   ├── SpecMismatchError           spec_mismatch
    │   ├── InvalidRequestError         invalid_request
    │   ├── InvalidNameError            invalid_name
    │   ├── ShapeMismatchError          shape_mismatch
    │   ├── DtypeMismatchError          dtype_mismatch
    │   ├── IndexOutOfRangeError        index_out_of_range
    │   ├── RangeNotSatisfiableError    range_not_satisfiable
    │   ├── NonFiniteError              non_finite
    │   ├── IdempotencyKeyReusedError   idempotency_key_reused
    │   └── CheckpointIncompatibleError checkpoint_incompatible
    ├── NotFoundError
    │   ├── RouteNotFoundError          not_found
    │   ├── VariableNotFoundError       variable_not_found
    │   ├── ScopeNotFoundError          scope_not_found
    │   ├── CollectionNotFoundError     collection_not_found
    │   ├── OptimizerNotFoundError      optimizer_not_found
    │   ├── CheckpointNotFoundError     checkpoint_not_found
    │   └── WorkerNotFoundError         worker_not_found
    ├── AlreadyExistsError
    │   └── VariableExistsError         variable_exists
    ├── FailedPreconditionError         the server is not in the state that the call needs
    │   ├── UninitializedError          uninitialized
    │   ├── NoInitializerError          no_initializer
    │   └── NoDataDirError              no_data_dir
    ├── AbortedError                    somebody else was there first: look again, then decide
    │   ├── StaleUpdateError            stale_update
    │   ├── FencedError                 fenced
    │   ├── TooOldError                 too_old
    │   ├── BarrierBrokenError          barrier_broken
    │   ├── CheckpointBusyError         checkpoint_busy
    │   └── VersionMismatchError        version_mismatch
    ├── ResourceExhaustedError
    │   ├── BodyTooLargeError           body_too_large
    │   ├── HeadTooLargeError           head_too_large
    │   ├── OverloadedError             overloaded
    │   ├── MemoryLimitExceededError    memory_limit_exceeded
    │   └── DiskFullError               disk_full
    ├── UnavailableError                worth another try later
    │   ├── DrainingError               draining
    │   ├── RestoringError              restoring
    │   └── UnreachableError            no server answered (made by the client)
    ├── UnauthenticatedError
    │   └── TokenNeededError            unauthenticated
    ├── PermissionDeniedError
    │   ├── ForbiddenError              forbidden
    │   └── WrongHostError              wrong_host
    ├── UnimplementedError
    │   └── MethodNotAllowedError       method_not_allowed
    ├── DataLossError
    │   └── CheckpointCorruptError      checkpoint_corrupt
    ├── InternalError
    │   └── ServerFailedError           internal
    ├── DeadlineExceededError           no answer in time, and nothing was applied, or it is known that it was (client)
    ├── OutOfRangeError                 (for code that catches TensorFlow's names)
    ├── CancelledError                  (for code that catches TensorFlow's names)
    └── UnknownError
        ├── UnexpectedAnswerError       an answer that no parameter server gives (client)
        └── OutcomeUnknownError         a write may or may not have been applied (client)

Every error says in `outcome` what became of the request: "not applied", "applied" or "unknown".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

Outcome = Literal["not applied", "applied", "unknown"]


class ParameterServerError(Exception):
    """The base of all errors of this package.

    `detail` says what was wanted, what came, and what to do now; `code` is the stable problem code; `errors` lists
    every difference that was found, as `{"name", "code", "detail"}`, the first in the request's order first; `status`
    is the HTTP status (None when no answer came); `request_id` is the id under which the request was sent; `outcome`
    says whether the request was applied.
    """

    code: str = "unknown"
    default_outcome: ClassVar[Outcome] = "not applied"

    op: Any = None
    """The operation of the local graph in which it happened."""

    node_def: Any = None

    def __init__(
        self,
        detail: str | None,
        op: Any = None,
        message: str | None = None,
        *,
        code: str | None = None,
        errors: Iterable[Mapping[str, Any]] = (),
        status: int | None = None,
        request_id: str | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        # TensorFlow's own order is (node_def, op, message).
        detail = str(detail if message is None else message)
        super().__init__(detail)
        self.detail = detail
        if op is not None:
            self.op = op
        self.code = code or type(self).code
        self.errors = [dict(difference) for difference in errors]
        self.status = status
        self.request_id = request_id
        self.outcome: Outcome = outcome or self.default_outcome

    @property
    def message(self) -> str:
        """The text, under TensorFlow's name."""
        return self.detail

    def __str__(self) -> str:
        if len(self.errors) < 2:
            return self.detail
        listed = [f"  {each.get('name', '')}: {each.get('detail', '')}" for each in self.errors]
        return "\n".join([self.detail, f"All {len(listed)} differences:", *listed])


class InvalidArgumentError(ParameterServerError):
    """The request cannot be right, whatever state the server is in. Nothing was changed."""


class NotFoundError(ParameterServerError):
    """What the request names does not exist. Nothing was changed."""


class AlreadyExistsError(ParameterServerError):
    """What the request would create exists. Nothing was changed."""


class FailedPreconditionError(ParameterServerError):
    """The server is not in the state that the call needs. Nothing was changed."""


class AbortedError(ParameterServerError):
    """Somebody else was there first. Nothing was changed; look again and decide anew."""


class ResourceExhaustedError(ParameterServerError):
    """A limit on memory, disk, size or rate was met. Nothing was changed."""


class UnavailableError(ParameterServerError):
    """The server cannot serve now. Nothing was changed; the same call is worth another try later."""


class UnauthenticatedError(ParameterServerError):
    """The server does not know who asks. Nothing was changed."""


class PermissionDeniedError(ParameterServerError):
    """The server knows who asks and refuses. Nothing was changed."""


class UnimplementedError(ParameterServerError):
    """The server has no such operation. Nothing was changed."""


class DataLossError(ParameterServerError):
    """Data on disk is damaged. The values in the server's memory were not changed."""


class InternalError(ParameterServerError):
    """The server failed. Whether a write was applied is unknown."""

    default_outcome = "unknown"


class DeadlineExceededError(ParameterServerError):
    """No answer within the call's `timeout_s`. `outcome` says what is known of the request: a write that may have been
    applied raises `OutcomeUnknownError` instead."""

    code = "deadline_exceeded"


class OutOfRangeError(ParameterServerError):
    """Raised by no call of this package; here so that code which catches TensorFlow's names runs."""

    code = "out_of_range"


class CancelledError(ParameterServerError):
    """Raised by no call of this package; here so that code which catches TensorFlow's names runs."""

    code = "cancelled"


class UnknownError(ParameterServerError):
    """Something that has no name of its own happened. `outcome` says what is known of the request."""

    default_outcome = "unknown"


class MalformedBodyError(InvalidArgumentError):
    """The server could not decode the body."""

    code = "malformed_body"


class NotAcceptableError(InvalidArgumentError):
    """The answer has no form that the client accepts."""

    code = "not_acceptable"


class UnsupportedMediaTypeError(InvalidArgumentError):
    """The server does not take this media type here."""

    code = "unsupported_media_type"


class SpecMismatchError(InvalidArgumentError):
    """The variable to reuse exists with another shape or dtype."""

    code = "spec_mismatch"


class InvalidRequestError(InvalidArgumentError):
    """The request does not fit its form: an unknown field, a value out of range, a name given twice."""

    code = "invalid_request"


class InvalidNameError(InvalidArgumentError):
    """The name is not allowed."""

    code = "invalid_name"


class ShapeMismatchError(InvalidArgumentError):
    """The value's shape is not the variable's; nothing is ever broadcast but one number in a whole `assign`."""

    code = "shape_mismatch"


class DtypeMismatchError(InvalidArgumentError):
    """The value's dtype cannot be cast to the variable's without loss."""

    code = "dtype_mismatch"


class IndexOutOfRangeError(InvalidArgumentError):
    """An index or slice lies outside the variable."""

    code = "index_out_of_range"


class RangeNotSatisfiableError(InvalidArgumentError):
    """The file has none of the bytes that were asked for."""

    code = "range_not_satisfiable"


class NonFiniteError(InvalidArgumentError):
    """A value holds NaN or an infinity; `allow_non_finite=True` lets it pass."""

    code = "non_finite"


class IdempotencyKeyReusedError(InvalidArgumentError):
    """The request id was used before, for another request."""

    code = "idempotency_key_reused"


class CheckpointIncompatibleError(InvalidArgumentError):
    """The checkpoint does not fit the variables; all differences are in `errors`."""

    code = "checkpoint_incompatible"


class RouteNotFoundError(NotFoundError):
    """The server has no such route: another version of it, or another program."""

    code = "not_found"


class VariableNotFoundError(NotFoundError):
    """There is no variable of that name."""

    code = "variable_not_found"


class ScopeNotFoundError(NotFoundError):
    """There is no scope of that name."""

    code = "scope_not_found"


class CollectionNotFoundError(NotFoundError):
    """There is no collection of that key."""

    code = "collection_not_found"


class OptimizerNotFoundError(NotFoundError):
    """There is no optimizer of that name."""

    code = "optimizer_not_found"


class CheckpointNotFoundError(NotFoundError):
    """There is no checkpoint of that id."""

    code = "checkpoint_not_found"


class WorkerNotFoundError(NotFoundError):
    """There is no worker of that name."""

    code = "worker_not_found"


class VariableExistsError(AlreadyExistsError):
    """A variable of that name exists; `reuse="auto"` takes it as it is."""

    code = "variable_exists"


class UninitializedError(FailedPreconditionError):
    """A variable that has no value yet was read or added to, or was asserted to have one."""

    code = "uninitialized"


class NoInitializerError(FailedPreconditionError):
    """The variable was created with a value and has no initializer to run."""

    code = "no_initializer"


class NoDataDirError(FailedPreconditionError):
    """The server has no data directory, so it keeps no checkpoints."""

    code = "no_data_dir"


class StaleUpdateError(AbortedError):
    """The update was computed from values that are too old by now."""

    code = "stale_update"


class FencedError(AbortedError):
    """A newer worker has taken this one's place."""

    code = "fenced"


class TooOldError(AbortedError):
    """The request id has left the window in which the server can tell a repeat from a first try."""

    code = "too_old"


class BarrierBrokenError(AbortedError):
    """A participant left the barrier before it was complete."""

    code = "barrier_broken"


class CheckpointBusyError(AbortedError):
    """A save or restore of this checkpoint is running."""

    code = "checkpoint_busy"


class VersionMismatchError(AbortedError):
    """The variable has another version than the one asked for with `if_version`."""

    code = "version_mismatch"


class BodyTooLargeError(ResourceExhaustedError):
    """The request's body is larger than the server takes."""

    code = "body_too_large"


class HeadTooLargeError(ResourceExhaustedError):
    """The request's path, query and headers are larger than the server takes."""

    code = "head_too_large"


class OverloadedError(ResourceExhaustedError):
    """The server had too many requests until the deadline."""

    code = "overloaded"


class MemoryLimitExceededError(ResourceExhaustedError):
    """The server's memory budget is used up."""

    code = "memory_limit_exceeded"


class DiskFullError(ResourceExhaustedError):
    """The server's disk is full; the older checkpoints are whole."""

    code = "disk_full"


class DrainingError(UnavailableError):
    """The server was shutting down until the deadline."""

    code = "draining"


class RestoringError(UnavailableError):
    """The server was restoring a checkpoint until the deadline."""

    code = "restoring"


class UnreachableError(UnavailableError):
    """No server could be reached until the deadline, so nothing was applied."""

    code = "unreachable"


class TokenNeededError(UnauthenticatedError):
    """The server wants a token, and none or a wrong one was sent."""

    code = "unauthenticated"


class ForbiddenError(PermissionDeniedError):
    """The server does not allow this, token or not."""

    code = "forbidden"


class WrongHostError(PermissionDeniedError):
    """The server does not answer for the host name that the URL gives."""

    code = "wrong_host"


class MethodNotAllowedError(UnimplementedError):
    """The route has no such method: the server is of another version."""

    code = "method_not_allowed"


class CheckpointCorruptError(DataLossError):
    """The checkpoint is damaged and was refused; the values in memory were not changed."""

    code = "checkpoint_corrupt"


class ServerFailedError(InternalError):
    """The server failed in a way that it did not foresee. Whether a write was applied is unknown."""

    code = "internal"


class UnexpectedAnswerError(UnknownError):
    """An answer came that no parameter server gives: a redirect, a proxy's page, a damaged body."""

    code = "unexpected_answer"


class OutcomeUnknownError(UnknownError):
    """A write may have been applied or not: its answer was lost, and it could not be learnt before the deadline.

    Read the variable, or make the write conditional with `if_version`, before you send it again.
    """

    code = "outcome_unknown"


BY_CODE: Final[Mapping[str, type[ParameterServerError]]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            MalformedBodyError,
            NotAcceptableError,
            UnsupportedMediaTypeError,
            SpecMismatchError,
            InvalidRequestError,
            InvalidNameError,
            ShapeMismatchError,
            DtypeMismatchError,
            IndexOutOfRangeError,
            RangeNotSatisfiableError,
            NonFiniteError,
            IdempotencyKeyReusedError,
            CheckpointIncompatibleError,
            RouteNotFoundError,
            VariableNotFoundError,
            ScopeNotFoundError,
            CollectionNotFoundError,
            OptimizerNotFoundError,
            CheckpointNotFoundError,
            WorkerNotFoundError,
            VariableExistsError,
            UninitializedError,
            NoInitializerError,
            NoDataDirError,
            StaleUpdateError,
            FencedError,
            TooOldError,
            BarrierBrokenError,
            CheckpointBusyError,
            VersionMismatchError,
            BodyTooLargeError,
            HeadTooLargeError,
            OverloadedError,
            MemoryLimitExceededError,
            DiskFullError,
            DrainingError,
            RestoringError,
            TokenNeededError,
            ForbiddenError,
            WrongHostError,
            MethodNotAllowedError,
            CheckpointCorruptError,
            ServerFailedError,
        )
    }
)

_BY_STATUS: Final[Mapping[int, type[ParameterServerError]]] = MappingProxyType(
    {
        400: InvalidArgumentError,
        401: UnauthenticatedError,
        403: PermissionDeniedError,
        404: NotFoundError,
        405: UnimplementedError,
        406: InvalidArgumentError,
        409: FailedPreconditionError,
        412: AbortedError,
        413: ResourceExhaustedError,
        415: InvalidArgumentError,
        422: InvalidArgumentError,
        421: PermissionDeniedError,
        429: ResourceExhaustedError,
        431: ResourceExhaustedError,
        500: InternalError,
        502: UnavailableError,
        503: UnavailableError,
        504: UnavailableError,
        507: ResourceExhaustedError,
    }
)


def kind_of(code: str, status: int | None = None) -> type[ParameterServerError]:
    """The class for a problem code; a code that this client does not know yet falls back to its status."""
    known = BY_CODE.get(code)
    if known is not None:
        return known
    return _BY_STATUS.get(status or 0, UnknownError)


def translated(error: Any) -> ParameterServerError:
    """The client's error for one of the wire's or the store's, which have `code`, `detail` and perhaps `errors`."""
    kind = kind_of(error.code)
    listed = [
        {"name": each.name, "code": each.code, "detail": each.detail} for each in getattr(error, "errors", ()) or ()
    ]
    return kind(error.detail, code=error.code, errors=listed)

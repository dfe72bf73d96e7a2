"""What the wire refuses: one exception per problem code that can be met while reading or writing messages.

WireError
  MalformedBody, BodyTooLarge, UnsupportedMediaType, NotAcceptable
  InvalidRequest, InvalidName, ShapeMismatch, DtypeMismatch, NonFinite
"""

from __future__ import annotations

from typing import ClassVar


class WireError(Exception):
    """Base of all refusals of this package; never raised itself.

    `code` is the problem code (a key of `CODES`), `detail` the sentence for a human: what was wanted, what came, what
    to do now. Whatever raised it has changed nothing.
    """

    code: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedBody(WireError):
    """The bytes do not follow their format."""

    code = "malformed_body"


class BodyTooLarge(WireError):
    """The bytes, or what they would unfold to, are over a limit."""

    code = "body_too_large"


class UnsupportedMediaType(WireError):
    """A request came in a format that cannot be read here."""

    code = "unsupported_media_type"


class NotAcceptable(WireError):
    """An answer cannot be held by the format that was asked for."""

    code = "not_acceptable"


class InvalidRequest(WireError):
    """The format is sound, but what it says has the wrong form."""

    code = "invalid_request"


class InvalidName(WireError):
    """A name or checkpoint id is not allowed."""

    code = "invalid_name"


class ShapeMismatch(WireError):
    """A shape is impossible, or does not fit the value beside it."""

    code = "shape_mismatch"


class DtypeMismatch(WireError):
    """A dtype is unknown, or a value does not fit it."""

    code = "dtype_mismatch"


class NonFinite(WireError):
    """A number is NaN or infinite, or becomes so in its dtype, where that was not allowed."""

    code = "non_finite"

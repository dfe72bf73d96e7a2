"""What travels between clients and the server: names, dtypes, codes, messages and the formats that carry them.

The formats are modules of their own: `frame`, `packed`, `safetensors` and `npy`.
"""

from paramserver_wire.codes import CODES, Code
from paramserver_wire.dtypes import DTYPES, can_cast, dtype_named, name_of, nbytes_of
from paramserver_wire.errors import (
    BodyTooLarge,
    DtypeMismatch,
    InvalidName,
    InvalidRequest,
    MalformedBody,
    NonFinite,
    NotAcceptable,
    ShapeMismatch,
    UnsupportedMediaType,
    WireError,
)
from paramserver_wire.messages import OPERATIONS, Answer, Message, Operation
from paramserver_wire.names import MAX_NAME, MAX_SLOT_NAME, ancestors, check_checkpoint_id, check_name, in_scope
from paramserver_wire.tensors import Tensor, Untyped, array_over, inferred, to_json, typed

__all__ = [
    "CODES",
    "DTYPES",
    "MAX_NAME",
    "MAX_SLOT_NAME",
    "OPERATIONS",
    "Answer",
    "BodyTooLarge",
    "Code",
    "DtypeMismatch",
    "InvalidName",
    "InvalidRequest",
    "MalformedBody",
    "Message",
    "NonFinite",
    "NotAcceptable",
    "Operation",
    "ShapeMismatch",
    "Tensor",
    "UnsupportedMediaType",
    "Untyped",
    "WireError",
    "ancestors",
    "array_over",
    "can_cast",
    "check_checkpoint_id",
    "check_name",
    "dtype_named",
    "in_scope",
    "inferred",
    "name_of",
    "nbytes_of",
    "to_json",
    "typed",
]

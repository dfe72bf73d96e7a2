"""Bytes to trees and back, by media type. A tree is plain values with `Tensor`s; what it means is not known here.

request   Content-Type decides     application/json, application/msgpack, application/vnd.paramserver.frame; where it
                                   is tensors: application/x-safetensors, application/x-npy
answer    Accept decides           the same; without one, the request's own type, else JSON
"""

from paramserver.http.codecs.bodies import (
    Encoded,
    check_holds,
    decode,
    decoded_nbytes,
    encode,
    encoding_nbytes,
    packing_nbytes,
    slices_of,
    tensors_of,
)
from paramserver.http.codecs.json_text import MAX_DEPTH, PIECE_NBYTES, decode_json
from paramserver.http.codecs.negotiation import (
    FILES,
    MEDIA_TYPE_OF,
    MEDIA_TYPES,
    TREES,
    Format,
    answer_format,
    check_encoding,
    format_of,
    listed,
)

__all__ = [
    "FILES",
    "MAX_DEPTH",
    "MEDIA_TYPES",
    "MEDIA_TYPE_OF",
    "PIECE_NBYTES",
    "TREES",
    "Encoded",
    "Format",
    "answer_format",
    "check_encoding",
    "check_holds",
    "decode",
    "decode_json",
    "decoded_nbytes",
    "encode",
    "encoding_nbytes",
    "format_of",
    "listed",
    "packing_nbytes",
    "slices_of",
    "tensors_of",
]

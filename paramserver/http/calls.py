"""From a request to a call: the message for the engine, and what the answer must look like. Changes nothing yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from pydantic import TypeAdapter
from starlette.requests import Request

from paramserver.http import codecs
from paramserver.http.limits import Body, check_counts, check_no_body, receive_body
from paramserver.http.models import Model, NoFields, TensorValue
from paramserver.settings import Settings
from paramserver.store.buffers import BufferPool, Hold
from paramserver.store.requests import Digest
from paramserver_wire.checksum import crc32
from paramserver_wire.errors import InvalidRequest, NotAcceptable
from paramserver_wire.messages import OPERATIONS, Message, Operation
from paramserver_wire.tensors import Array, Tensor

# A body from here on is decoded and checked in a thread: at 256 KB that costs about as much as the hand-over. Of a frame
# only the header is decoded; the rest is its checksum, which takes 0.15 ms for 4 MB.
INLINE_NBYTES: Final = 256 * 1024
INLINE_FRAME_NBYTES: Final = 4 * 1024 * 1024
_FRAME_PREAMBLE_NBYTES: Final = 64
_MAX_QUERY_FIELDS: Final = 32
_MAX_TAGS_LENGTH: Final = 1000
_CONDITIONS: Final[Mapping[str, str]] = {"if_match": "If-Match", "if_none_match": "If-None-Match"}
_PREFERENCES: Final[Mapping[str, str]] = {"prefer": "return=representation", "respond_async": "respond-async"}
_TENSOR: Final = TypeAdapter[Any](TensorValue)
_TENSOR_FIELDS: Final = frozenset({"value", "indices", "updates", "gradients"})
_GIVES_ONE_TENSOR: Final = frozenset({"read", "gather"})
_GIVES_TENSORS: Final = frozenset({"pull"})
# Of these only the header is decoded: the arrays are views of the body.
_LAID_OUT: Final = frozenset({"frame", *codecs.FILES})
# What a push does with the tensors of a safetensors body, unless `?op=` says otherwise.
_FILE_OP: Final = "assign_add"
_ALL_FORMATS: Final = (*codecs.TREES, *codecs.FILES)
_NO_BODY: Final = Body(memoryview(b""))
_NO_DIGEST: Final = Digest(0, 0)


@dataclass(frozen=True)
class Form:
    """What a request to one operation must look like. `takes_tensors` settles how large its body may be.

    `file_field` is the field of the body that the tensors of a safetensors body make, and `file_query` the query beside
    such a body, where it is not the usual one.
    """

    operation: str
    query: type[Model] = NoFields
    body: type[Model] = NoFields
    file_field: str | None = None
    file_query: type[Model] | None = None

    @cached_property
    def described(self) -> Operation:
        return OPERATIONS[self.operation]

    @cached_property
    def is_upload(self) -> bool:
        """Whether its body is a file that is not held in memory."""
        return "file" in self.described.places.values()

    @cached_property
    def gives_a_file(self) -> bool:
        """Whether its answer is a file of tensors, and nothing else."""
        return self.operation == "export_variables"

    @cached_property
    def has_body(self) -> bool:
        return self.is_upload or any(
            place in ("body", "tensor", "document") for place in self.described.places.values()
        )

    @cached_property
    def takes_tensors(self) -> bool:
        places = self.described.places
        return "tensor" in places.values() or any(places.get(name) == "body" for name in _TENSOR_FIELDS)

    @cached_property
    def conditions(self) -> Sequence[tuple[str, str]]:
        """The arguments that are versions in a header, each with that header."""
        return self._among(_CONDITIONS)

    @cached_property
    def preferences(self) -> Sequence[tuple[str, str]]:
        """The arguments that are wishes in the header `Prefer`, each with its wish."""
        return self._among(_PREFERENCES)

    def _among(self, spelled: Mapping[str, str]) -> Sequence[tuple[str, str]]:
        return [(argument, spelled[at]) for argument, at in self.described.places.items() if at in spelled]

    @cached_property
    def tensor(self) -> str | None:
        """The argument that the whole body is, as one tensor."""
        return self._at("tensor")

    @cached_property
    def document(self) -> str | None:
        """The argument that the whole body is, as a map of its own fields."""
        return self._at("document")

    def _at(self, place: str) -> str | None:
        return next((argument for argument, at in self.described.places.items() if at == place), None)

    @cached_property
    def formats(self) -> Sequence[codecs.Format]:
        """The formats a body may be in."""
        if self.is_upload:
            return ("safetensors",)
        if "tensor" in self.described.places.values():
            return (*codecs.TREES, *codecs.FILES)
        return codecs.TREES if self.file_field is None else (*codecs.TREES, "safetensors")

    def answer_formats(self, arguments: Mapping[str, Any]) -> Sequence[codecs.Format]:
        """The formats in which the answer to such a request can be."""
        if self.gives_a_file:
            return ("safetensors",)
        if self.operation in _GIVES_ONE_TENSOR or arguments.get("return_representation"):
            return (*codecs.TREES, *codecs.FILES)
        if self.operation in _GIVES_TENSORS or arguments.get("returns"):
            return (*codecs.TREES, "safetensors")
        return codecs.TREES


class Call(NamedTuple):
    """A request, understood: what to do, under which digest, and how to answer.

    `donated_nbytes` is the size of the buffer its arrays lie in, when the engine may have it, else 0.
    """

    message: Message
    digest: Digest
    answer_format: codecs.Format
    donated_nbytes: int


class Heading(NamedTuple):
    """A request's head, understood. `limit_nbytes` is what its body may have, `target` tells requests with the same body
    apart, and `op` is what a push does with the tensors of a file."""

    form: Form
    body_format: codecs.Format | None
    arguments: Mapping[str, Any]
    op: str
    accept: str | None
    limit_nbytes: int
    target: bytes


async def decode(
    request: Request, heading: Heading, settings: Settings, pool: BufferPool, hold: Hold, threads: Executor
) -> Call:
    """Receive and check the rest of a request. Raises what makes it a problem: of the wire, of pydantic, of the
    connection, or of the memory budget, against which `hold` counts the body and what is made of it."""
    form, body = heading.form, _NO_BODY
    if form.has_body:
        body = await receive_body(request, heading.limit_nbytes, pool, hold)
    else:
        check_no_body(request)
    return await understood(heading, request_id_of(request, form), body, settings, hold, threads)


def heading_of(request: Request, form: Form, settings: Settings) -> Heading:
    """All that the head of a request says but for its request id. Raises what makes it a problem."""
    headers = request.headers
    codecs.check_encoding(headers.get("content-encoding"), headers.get("transfer-encoding"))
    content_type = headers.get("content-type") if form.has_body else None
    name = None if content_type is None else codecs.format_of(content_type, form.formats)
    arguments = head_arguments(request, form, name)
    op = arguments.pop("op", _FILE_OP)
    # A file on the disk is of one kind, whatever its reader would rather have.
    accept = None if form.operation == "download_checkpoint" else headers.get("accept")
    check_accept(accept, name or "json")
    return Heading(form, name, arguments, op, accept, _body_limit(form, name, settings), target_of(request, form))


async def understood(
    heading: Heading, request_id: str | None, body: Body, settings: Settings, hold: Hold, threads: Executor
) -> Call:
    """The call that a head and a body make; raises as `decode`. A large body is looked into in a thread."""
    form, name, accept = heading.form, heading.body_format, heading.accept
    if request_id is None and not form.has_body:
        answer_format = _answer_format(accept, "json", form.answer_formats(heading.arguments))
        return Call(Message(form.operation, heading.arguments), _NO_DIGEST, answer_format, 0)
    nbytes = body.view.nbytes
    if nbytes and name is None:
        name = codecs.format_of(None, form.formats)
    if name is not None:
        hold.add(codecs.decoded_nbytes(name, nbytes))
    # What tells requests apart is asked for by a request id only.
    target = None if request_id is None else heading.target
    finish = partial(_understood, form, name, body, heading.op, settings, target)
    if nbytes < (INLINE_FRAME_NBYTES if name in _LAID_OUT else INLINE_NBYTES):
        from_body, digest = finish()
    else:
        from_body, digest = await asyncio.get_running_loop().run_in_executor(threads, finish)
    arguments = {**heading.arguments, **from_body}
    return Call(
        Message(form.operation, arguments, request_id),
        digest,
        _answer_format(accept, name or "json", form.answer_formats(arguments)),
        # The arrays are views of the body, which nobody else has: the engine may keep it.
        nbytes if name in _LAID_OUT else 0,
    )


def check_accept(accept: str | None, own: codecs.Format) -> None:
    """Refuse, before the body is received, a request whose answer could not come in any format."""
    codecs.answer_format(accept, own, _ALL_FORMATS)


def _answer_format(accept: str | None, own: codecs.Format, offered: Sequence[codecs.Format]) -> codecs.Format:
    """The format of the answer. One without tensors comes as JSON to those who ask for files of tensors only."""
    try:
        return codecs.answer_format(accept, own, offered)
    except NotAcceptable:
        if offered != codecs.TREES:
            raise
        return "json"


def head_arguments(request: Request, form: Form, given: codecs.Format | None) -> dict[str, Any]:
    """The arguments in the path, the query and the headers; `given` is the format of the body."""
    arguments = dict(request.scope["path_params"])
    if query := _query(request):
        model = form.file_query if given == "safetensors" and form.file_query is not None else form.query
        arguments = {**_given(model.model_validate_strings(query)), **arguments}
    for name, header in form.conditions:
        if (tags := request.headers.get(header)) is not None:
            arguments[name] = _checked_tags(tags, header)
    if form.preferences and "prefer" in request.headers:
        preferred = _preferences(request.headers.getlist("prefer"))
        arguments.update((name, True) for name, wish in form.preferences if wish in preferred)
    return arguments


def _query(request: Request) -> dict[str, str]:
    raw = request.scope["query_string"].decode("latin-1")
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        raise InvalidRequest(
            f"the query has more than {_MAX_QUERY_FIELDS} fields; send those the route knows"
        ) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest("a query field stands twice; give each once")
    return fields


def _checked_tags(tags: str, header: str) -> str:
    if not tags.isprintable() or not 0 < len(tags) <= _MAX_TAGS_LENGTH:
        raise InvalidRequest(
            f'{header}: wanted a version or version tag, as in "6c0f3a9d5be71284-17", got {tags[:80]!r}'
        )
    return tags


def _preferences(values: list[str]) -> set[str]:
    return {part.strip().lower().replace('"', "") for value in values for part in value.split(",")}


def request_id_of(request: Request, form: Form) -> str | None:
    """The request id, where it is one of an operation that changes something."""
    return request.headers.get("idempotency-key") if form.described.mutates else None


def _body_limit(form: Form, name: codecs.Format | None, settings: Settings) -> int:
    if name in _LAID_OUT:
        limit = (
            settings.body_limit_nbytes if form.takes_tensors else settings.control_limit_nbytes + _FRAME_PREAMBLE_NBYTES
        )
    elif name == "msgpack":
        limit = settings.msgpack_limit_nbytes
    else:
        limit = settings.json_limit_nbytes if form.takes_tensors else settings.control_limit_nbytes
    return min(limit, settings.body_limit_nbytes)


def _understood(
    form: Form, name: codecs.Format | None, body: Body, op: str, settings: Settings, target: bytes | None
) -> tuple[Mapping[str, Any], Digest]:
    """The arguments in the body, and its digest: the same body sent to another target is another request."""
    view, checksum = body
    arguments = _body_arguments(form, name, view, op, settings)
    if target is None:
        return arguments, Digest(view.nbytes, 0)
    return arguments, Digest(view.nbytes, crc32(target, crc32(view) if checksum is None else checksum))


def _body_arguments(
    form: Form, name: codecs.Format | None, body: memoryview, op: str, settings: Settings
) -> dict[str, Any]:
    tree: Any = {}
    # A file always has a header: an empty body is none.
    if name is not None and (body.nbytes or name in codecs.FILES):
        tree = codecs.decode(name, body, header_limit_nbytes=settings.control_limit_nbytes)
    if form.tensor is not None:
        return {form.tensor: _tensor_in(tree, name)}
    if name == "safetensors":
        tree = _of_file(form, tree, op)
    if isinstance(tree, dict):
        check_counts(tree, settings.variables_limit)
    fields = _given(form.body.model_validate(tree))
    return fields if form.document is None else {form.document: fields}


def _tensor_in(tree: Any, name: codecs.Format | None) -> Any:
    if name in codecs.FILES:
        return tree if name == "npy" else _only(tree)
    if type(tree) is Tensor and not tree.meta:
        return tree.array
    return _TENSOR.validate_python(tree)


def _only(tensors: Mapping[str, Array]) -> Array:
    if len(tensors) != 1:
        raise InvalidRequest(f"wanted a safetensors file with one tensor, of any name, got {len(tensors)}; send one")
    (array,) = tensors.values()
    return array


def _of_file(form: Form, tensors: Mapping[str, Array], op: str) -> dict[str, Any]:
    """The body that a file of tensors by name stands for: all as updates with one op, or all as gradients."""
    assert form.file_field is not None, "other operations take no file"
    if form.file_field == "updates":
        return {"updates": [{"name": name, "op": op, "value": Tensor(array)} for name, array in tensors.items()]}
    return {form.file_field: {name: Tensor(array) for name, array in tensors.items()}}


def _given(model: Model) -> dict[str, Any]:
    """The fields that were given, as plain values; null is the same as leaving a field out."""
    fields: dict[str, Any] = {}
    for name in model.model_fields_set:
        value = getattr(model, name)
        if isinstance(value, list) and value and isinstance(value[0], Model):
            fields[name] = [_given(entry) for entry in value]
        elif value is not None:
            fields[name] = value
    return fields


def target_of(request: Request, form: Form) -> bytes:
    """What tells requests with the same body apart: the route, the name and the query."""
    return f"{form.operation} {request.scope['path']}?".encode() + bytes(request.scope["query_string"])

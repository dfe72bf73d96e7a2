# Made from calls/__init__.py by scripts/make_async.py. Do not change it here: change calls/__init__.py, run `make generate`.
"""The calls of a client, by subject. Each module is one mixin: a promise and a few lines for each call.

They are written for threads; `make generate` makes their twins for asyncio, in `aio/calls`.
"""

from __future__ import annotations

from paramserver_client.aio.calls.checkpoints import CheckpointCalls
from paramserver_client.aio.calls.files import FileCalls
from paramserver_client.aio.calls.groups import GroupCalls
from paramserver_client.aio.calls.initializing import InitializingCalls
from paramserver_client.aio.calls.optimizers import OptimizerCalls
from paramserver_client.aio.calls.reading import ReadingCalls
from paramserver_client.aio.calls.server import ServerCalls
from paramserver_client.aio.calls.variables import VariableCalls
from paramserver_client.aio.calls.writing import WritingCalls

__all__ = ["AllCalls"]


class AllCalls(
    VariableCalls,
    ReadingCalls,
    WritingCalls,
    OptimizerCalls,
    GroupCalls,
    InitializingCalls,
    CheckpointCalls,
    FileCalls,
    ServerCalls,
):
    """Everything that can be asked of a parameter server."""

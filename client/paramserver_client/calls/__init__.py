"""The calls of a client, by subject. Each module is one mixin: a promise and a few lines for each call.

They are written for threads; `make generate` makes their twins for asyncio, in `aio/calls`.
"""

from paramserver_client.calls.checkpoints import CheckpointCalls
from paramserver_client.calls.files import FileCalls
from paramserver_client.calls.groups import GroupCalls
from paramserver_client.calls.initializing import InitializingCalls
from paramserver_client.calls.optimizers import OptimizerCalls
from paramserver_client.calls.reading import ReadingCalls
from paramserver_client.calls.server import ServerCalls
from paramserver_client.calls.variables import VariableCalls
from paramserver_client.calls.writing import WritingCalls

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

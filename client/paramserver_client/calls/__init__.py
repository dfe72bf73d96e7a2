"""The calls of a client, by subject. Each module is one mixin: a promise and a few lines for each call."""

from paramserver_client.calls.checkpoints import CheckpointCalls
from paramserver_client.calls.initializing import InitializingCalls
from paramserver_client.calls.reading import ReadingCalls
from paramserver_client.calls.variables import VariableCalls
from paramserver_client.calls.writing import WritingCalls

__all__ = ["CheckpointCalls", "InitializingCalls", "ReadingCalls", "VariableCalls", "WritingCalls"]

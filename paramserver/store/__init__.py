"""The core: variables, transactions, snapshots and request ids. It knows nothing of networks, files or formats."""

from paramserver.store.buffers import BufferPool, MemoryBudget
from paramserver.store.creation import NewVariable
from paramserver.store.gradients import Gradient, GradientPush
from paramserver.store.grouping import Scope
from paramserver.store.optimizers import MemoryNames, OptimizerState
from paramserver.store.publisher import ImmediatePublisher, Publisher, Receipt
from paramserver.store.requests import Claim, Digest, Replay, RequestLog, Running
from paramserver.store.restoring import Restored
from paramserver.store.selection import Selection
from paramserver.store.snapshot import Snapshot, VariableSnapshot, VariableState
from paramserver.store.store import Store
from paramserver.store.updates import Update

__all__ = [
    "BufferPool",
    "Claim",
    "Digest",
    "Gradient",
    "GradientPush",
    "ImmediatePublisher",
    "MemoryBudget",
    "MemoryNames",
    "NewVariable",
    "OptimizerState",
    "Publisher",
    "Receipt",
    "Replay",
    "RequestLog",
    "Restored",
    "Running",
    "Scope",
    "Selection",
    "Snapshot",
    "Store",
    "Update",
    "VariableSnapshot",
    "VariableState",
]

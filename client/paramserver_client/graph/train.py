"""`tf.train`: optimizers, checkpoints, the global step, and sessions of several workers."""

from paramserver_client.graph.checkpoint_state import (
    CheckpointState,
    get_checkpoint_state,
    latest_checkpoint,
    update_checkpoint_state,
)
from paramserver_client.graph.optimizers import GradientDescentOptimizer, Optimizer
from paramserver_client.graph.saver import Saver
from paramserver_client.graph.session_manager import SessionManager
from paramserver_client.graph.training_util import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    global_step,
)

__all__ = [
    "CheckpointState",
    "GradientDescentOptimizer",
    "Optimizer",
    "Saver",
    "SessionManager",
    "assert_global_step",
    "create_global_step",
    "get_checkpoint_state",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
    "latest_checkpoint",
    "update_checkpoint_state",
]

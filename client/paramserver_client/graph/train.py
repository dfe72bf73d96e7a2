"""`tf.train`: optimizers, checkpoints, the global step, and sessions of several workers."""

from paramserver_client.graph.checkpoint_reader import (
    NewCheckpointReader,
    init_from_checkpoint,
    list_variables,
    load_checkpoint,
    load_variable,
)
from paramserver_client.graph.checkpoint_state import (
    CheckpointState,
    checkpoint_exists,
    generate_checkpoint_state_proto,
    get_checkpoint_mtimes,
    get_checkpoint_state,
    latest_checkpoint,
    meta_graph_filename,
    remove_checkpoint,
    update_checkpoint_state,
)
from paramserver_client.graph.optimizers import GradientDescentOptimizer, Optimizer
from paramserver_client.graph.saver import Saver, SaverDef
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
    "NewCheckpointReader",
    "Optimizer",
    "Saver",
    "SaverDef",
    "SessionManager",
    "assert_global_step",
    "checkpoint_exists",
    "create_global_step",
    "generate_checkpoint_state_proto",
    "get_checkpoint_mtimes",
    "get_checkpoint_state",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
    "init_from_checkpoint",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "meta_graph_filename",
    "remove_checkpoint",
    "update_checkpoint_state",
]

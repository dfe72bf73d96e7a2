"""The form of every request and answer. Requests are checked against these models; answers are documented by them.

All are strict and closed: a field that is not listed, or has another type, is refused by its path. What a field means for
the variables (does the shape fit, may the name be) is the engine's to say.
"""

from paramserver.http.models.base import LONG_POLL_LIMIT_S, TENSOR_SCHEMA, Model, NoFields, SelectionBody, TensorValue
from paramserver.http.models.checkpoints import (
    CheckpointFile,
    CheckpointInfo,
    CheckpointList,
    RestoreBody,
    Restored,
    SaveBody,
)
from paramserver.http.models.server import Memory, ProblemDocument, ProblemError, ServerInfo
from paramserver.http.models.values import (
    PullBody,
    Pulled,
    PushBody,
    Pushed,
    PushQuery,
    ReadAnswer,
    ReadQuery,
    TensorAnswer,
    Update,
    WriteQuery,
    Written,
)
from paramserver.http.models.variables import (
    CreateBody,
    CreateQuery,
    Deleted,
    DeleteQuery,
    InitializeBody,
    Initialized,
    InitializeOneBody,
    IsInitialized,
    ListQuery,
    Metadata,
    NameList,
    ReportQuery,
    UpdateBody,
    VariableList,
)

__all__ = [
    "LONG_POLL_LIMIT_S",
    "TENSOR_SCHEMA",
    "CheckpointFile",
    "CheckpointInfo",
    "CheckpointList",
    "CreateBody",
    "CreateQuery",
    "DeleteQuery",
    "Deleted",
    "InitializeBody",
    "InitializeOneBody",
    "Initialized",
    "IsInitialized",
    "ListQuery",
    "Memory",
    "Metadata",
    "Model",
    "NameList",
    "NoFields",
    "ProblemDocument",
    "ProblemError",
    "PullBody",
    "Pulled",
    "PushBody",
    "PushQuery",
    "Pushed",
    "ReadAnswer",
    "ReadQuery",
    "ReportQuery",
    "RestoreBody",
    "Restored",
    "SaveBody",
    "SelectionBody",
    "ServerInfo",
    "TensorAnswer",
    "TensorValue",
    "Update",
    "UpdateBody",
    "VariableList",
    "WriteQuery",
    "Written",
]

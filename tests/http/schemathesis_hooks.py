"""What schemathesis is told about our media types: how a file of tensors looks."""

from __future__ import annotations

import numpy as np
import schemathesis
from hypothesis import strategies as st

from paramserver_wire import safetensors

_FILES = [
    b"".join(safetensors.file_parts({}, {})),
    b"".join(safetensors.file_parts({"imported/w": np.ones((2, 2), np.float32)}, {"format": "pt"})),
    b"".join(safetensors.file_parts({"imported/w": np.ones((2, 2), np.float32), "imported/n": np.arange(3)}, {})),
]

schemathesis.serializer.alias(safetensors.MEDIA_TYPE, "application/octet-stream")
schemathesis.openapi.media_type(safetensors.MEDIA_TYPE, st.sampled_from(_FILES))

"""A parameter server without a network: what the HTTP app and the embedded client both open."""

from paramserver.engine.engine import PROTOCOL_VERSION, Engine
from paramserver.engine.operations import MAX_WAIT_S, Call, is_newer

__all__ = ["MAX_WAIT_S", "PROTOCOL_VERSION", "Call", "Engine", "is_newer"]

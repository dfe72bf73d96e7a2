"""`tf.logging`: what hooks and drivers tell, through Python's logger `tensorflow`.

Below WARN nothing is shown until `tf.logging.set_verbosity(tf.logging.INFO)`. Where Python's logging has no handler yet,
lines go to stderr as TensorFlow writes them: `INFO:tensorflow:...`.
"""

from __future__ import annotations

import logging
from typing import Any, Final

DEBUG: Final = logging.DEBUG
INFO: Final = logging.INFO
WARN: Final = logging.WARNING
ERROR: Final = logging.ERROR
FATAL: Final = logging.CRITICAL

_LOGGER: Final = logging.getLogger("tensorflow")


def log(level: int, msg: str, *args: Any, **kwargs: Any) -> None:
    """Log `msg % args` at a level of this module."""
    if not _LOGGER.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
        _LOGGER.addHandler(handler)
    _LOGGER.log(level, msg, *args, **kwargs)


def debug(msg: str, *args: Any, **kwargs: Any) -> None:
    """Log at level DEBUG."""
    log(DEBUG, msg, *args, **kwargs)


def info(msg: str, *args: Any, **kwargs: Any) -> None:
    """Log at level INFO."""
    log(INFO, msg, *args, **kwargs)


def warning(msg: str, *args: Any, **kwargs: Any) -> None:
    """Log at level WARN."""
    log(WARN, msg, *args, **kwargs)


def warn(msg: str, *args: Any, **kwargs: Any) -> None:
    """The old name of `warning`."""
    log(WARN, msg, *args, **kwargs)


def error(msg: str, *args: Any, **kwargs: Any) -> None:
    """Log at level ERROR."""
    log(ERROR, msg, *args, **kwargs)


def fatal(msg: str, *args: Any, **kwargs: Any) -> None:
    """Log at level FATAL. The program goes on."""
    log(FATAL, msg, *args, **kwargs)


def get_verbosity() -> int:
    """The level from which on messages are shown."""
    return _LOGGER.getEffectiveLevel()


def set_verbosity(v: int) -> None:
    """Show messages of this level and above."""
    _LOGGER.setLevel(v)

"""The server: store, checkpoints, HTTP and the command line."""

from typing import Final

VERSION: Final = "0.1.0"

"""TLS as the environment has it: the certificate that a client shows."""

from __future__ import annotations

import os
import ssl

CERT = "PARAMSERVER_CLIENT_CERT"
KEY = "PARAMSERVER_CLIENT_KEY"


def context_of_the_environment() -> ssl.SSLContext | None:
    """Rules as `ssl.create_default_context()` makes them, with the certificate in the PEM file that `PARAMSERVER_CLIENT_CERT`
    names; its key stands in the same file, or in that of `PARAMSERVER_CLIENT_KEY`. None where the environment names none.

    Raises `ValueError` when they cannot be used.
    """
    cert, key = os.environ.get(CERT), os.environ.get(KEY) or None
    if not cert:
        return None
    context = ssl.create_default_context()
    try:
        # Without one given, it would ask at the terminal for the password of a key that has one.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError. What it says never holds anything of a key.
        files = f"{cert} ({CERT})" if key is None else f"{cert} ({CERT}), its key in {key} ({KEY})"
        raise ValueError(
            f"Wanted a certificate and its key, without a password, as PEM in {files}, which cannot be used: {error}."
        ) from None
    return context

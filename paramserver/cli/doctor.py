"""`paramserver doctor`: what is wrong here, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paramserver.cli.asking import REFUSED, Json, Timeout
from paramserver.cli.findings import Finding, print_findings, summary_text
from paramserver.cli.settings_flags import WithSettings, checked_settings
from paramserver.cli.showing import fields_of, print_json

if TYPE_CHECKING:
    from paramserver.settings import Settings

_EXAMPLES: Final = """\b
Examples:
  paramserver doctor                          this machine and its server
  paramserver doctor --data-dir data --verify     read all of the checkpoints
  paramserver doctor --offline                without asking a server
  paramserver doctor --url http://127.0.0.1:8080 --timeout 5
  paramserver doctor --json | jq '.findings[] | select(.verdict != "ok")'
"""
_TIMEOUT_S: Final = 10


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command(
        "doctor",
        cls=WithSettings,
        help=(
            "Look for what is wrong, here and at the server, and say what to do. It takes the flags of `paramserver "
            "serve`, and looks at what those would need. Nothing is changed. It ends with 1 when there is a problem."
        ),
        short_help="Say what is wrong here, and what to do.",
        epilog=_EXAMPLES,
    )(lambda: doctor)


def doctor(
    flags: Mapping[str, Any],
    url: Annotated[
        str | None,
        typer.Option(
            "--url", envvar="PARAMSERVER_URL", metavar="URL", help="The server to ask, if not that of --port."
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read all checkpoints and compare every checksum.")] = False,
    as_json: Json = False,
    timeout_s: Timeout = _TIMEOUT_S,
) -> None:
    """Say what is wrong here."""
    findings: list[Finding] = []

    def found() -> Iterator[Finding]:
        for finding in _all(flags, None if offline else (url, timeout_s), verify=verify):
            findings.append(finding)
            yield finding

    if as_json:
        ok = all(finding.verdict != "problem" for finding in found())
        print_json({"ok": ok, "findings": [fields_of(finding) for finding in findings]})
    else:
        print_findings(found())
        print(summary_text(findings))
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(REFUSED)


def _all(flags: Mapping[str, Any], ask: tuple[str | None, int] | None, *, verify: bool) -> Iterator[Finding]:
    """Each check in turn; `ask` is the server's URL and how long to wait, None to ask none."""
    from paramserver.cli import checks_disk, checks_here, checks_server

    yield from checks_here.check_python()
    settings, wrong = checked_settings(flags)
    if settings is None:
        for line in wrong:
            yield Finding("settings", "problem", line, "`paramserver config` shows where each one comes from")
    else:
        yield Finding("settings", "ok", "all fit" + (f", {settings.config} included" if settings.config else ""))
        yield from checks_here.check_address(settings)
        yield from checks_here.check_exposure(settings)
        yield from checks_disk.check_data_directory(settings, verify=verify)
        yield from checks_here.check_memory(settings)
    if ask is not None:
        url, timeout_s = ask
        address = url or _own_url(settings)
        if address is not None:
            yield from checks_server.check_server(
                address, checks_here.token_or_none(settings), timeout_s, named=url is not None
            )


def _own_url(settings: Settings | None) -> str | None:
    """Where a server of these settings would answer; None where that cannot be told."""
    if settings is None or settings.port == 0 or (settings.uds is not None and "port" not in settings.model_fields_set):
        return None
    # What listens everywhere answers on the loopback too.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"

"""What a server that answers can tell: whether it is one of ours, of our protocol, and whether the clocks agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from paramserver.cli.asking import NotReachedError, impatient_transport
from paramserver.cli.findings import Finding
from paramserver.cli.showing import ago_text, count_text, size_text

# A Date header has whole seconds, and an answer takes a while.
TOLERATED_SKEW_S: Final = 3.0
SKEW_WARNING_S: Final = 30.0


def check_server(url: str, token: str | None, timeout_s: int, *, named: bool) -> Iterator[Finding]:
    """Ask the server at `url`. That nobody answers is a problem only if somebody `named` it."""
    from paramserver_client import ParameterClient, ParameterServerError, UnauthenticatedError, UnreachableError

    dates: list[str] = []

    def note_date(fields: Mapping[str, str]) -> None:
        dates.extend(value for name, value in fields.items() if name == "date")

    try:
        with ParameterClient(url, token=token, timeout_s=timeout_s, transport=impatient_transport(note_date)) as client:
            told = client.server()
    except ValueError as error:
        yield Finding("server", "problem", f"{url}: {error}", "give a URL such as http://127.0.0.1:8080")
    except (NotReachedError, UnreachableError) as error:
        advice = "start it, or name another with --url" if named else "start one with `paramserver serve`"
        yield Finding("server", "problem" if named else "warn", f"nobody answers at {url}: {error}", advice)
    except UnauthenticatedError as error:
        yield Finding(
            "server", "problem", f"{url} wants a token: {error.code}", "give --token-file, or set PARAMSERVER_TOKEN"
        )
    except ParameterServerError as error:
        yield Finding(
            "server", "problem", f"{url}: {error.code}: {error}", "check that the URL is a parameter server's"
        )
    else:
        yield from _told(url, told)
    if dates:
        yield clock_finding(dates[-1], datetime.now(UTC))


def _told(url: str, told: dict[str, Any]) -> Iterator[Finding]:
    from paramserver import VERSION
    from paramserver.engine import PROTOCOL_VERSION

    memory = told["memory"]
    age_s = (datetime.now(UTC) - datetime.fromisoformat(told["started_at"])).total_seconds()
    of_limit = "" if memory["limit_nbytes"] is None else f" of {size_text(memory['limit_nbytes'])}"
    text = (
        f"{url}: {told['state']}, started {ago_text(age_s)}, {count_text(told['variables'], 'variable')}, "
        f"{size_text(memory['used_nbytes'])}{of_limit}"
    )
    if told["state"] == "ready":
        yield Finding("server", "ok", text)
    else:
        yield Finding("server", "warn", text, "it takes no new requests; wait until it is back")
    if memory["limit_nbytes"] is not None and memory["used_nbytes"] > memory["limit_nbytes"] * 9 // 10:
        yield Finding(
            "server memory", "warn", "nine tenths are used: writes will answer 507", "raise --memory-limit-nbytes"
        )
    if not told["checkpoints"]:
        yield Finding(
            "server disk", "warn", "it has no data directory: a restart loses every value", "start it with --data-dir"
        )
    yield protocol_finding(told["protocol_version"], PROTOCOL_VERSION, told["version"], VERSION)


def protocol_finding(theirs: int, ours: int, their_version: str, our_version: str) -> Finding:
    """Whether a server and this client understand each other."""
    versions = f"server {their_version}, here {our_version}"
    if theirs != ours:
        which = "this client" if theirs > ours else "the server"
        text = f"protocol {theirs} there, {ours} here ({versions})"
        return Finding("protocol", "problem", text, f"bring {which} up to date")
    if their_version != our_version:
        return Finding("protocol", "ok", f"{theirs} on both sides, though of two versions ({versions})")
    return Finding("protocol", "ok", f"{theirs} on both sides ({versions})")


def clock_finding(date: str, now: datetime) -> Finding:
    """How far the server's clock is from ours, by the Date of its answer."""
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return Finding("clock", "warn", f"the server's Date {date!r:.60} is none", "check what stands in between")
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    skew_s = (theirs - now).total_seconds()
    if abs(skew_s) <= TOLERATED_SKEW_S:
        return Finding("clock", "ok", f"the server's agrees within {TOLERATED_SKEW_S:g} s")
    text = f"the server's is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}"
    if abs(skew_s) < SKEW_WARNING_S:
        return Finding("clock", "ok", text)
    return Finding("clock", "warn", text, "set both by NTP: ages of checkpoints and times of updates are told by it")

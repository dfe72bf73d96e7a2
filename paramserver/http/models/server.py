"""Forms of the server itself, and of every problem."""

from __future__ import annotations

from pydantic import Field

from paramserver.http.models.base import Commit, Model


class Memory(Model):
    used_nbytes: int = Field(
        description="Bytes of all values, and of requests and answers under way.", examples=[102400]
    )
    limit_nbytes: int | None = Field(description="The most they may take; null: no limit.", examples=[13743895347])
    idle_nbytes: int = Field(description="Bytes kept warm for the next request.", examples=[0])


class Journal(Model):
    first_commit: int = Field(description="The oldest commit in it.", examples=[1])
    last_commit: int = Field(description="The newest commit in it.", examples=[1200])
    synced_commit: int = Field(description="All up to this commit survives a power cut.", examples=[1200])
    records: int = Field(description="Records written since the start.", examples=[1200])
    groups: int = Field(
        description="Writes that they took: those who came at the same time shared one.", examples=[310]
    )
    largest_group: int = Field(description="The most records that shared a write.", examples=[16])
    syncs: int = Field(description="How often the disk was waited for.", examples=[310])
    nbytes: int = Field(description="Bytes written since the start.", examples=[4915200])
    failed: bool = Field(
        description="Whether the disk failed: changes are refused until the next start.", examples=[False]
    )


class Connections(Model):
    open: int = Field(description="How many there are.", examples=[3])
    cut: dict[str, int] = Field(
        description="How many were cut or refused since the start, by reason.",
        examples=[{"idle": 12, "slow head": 200}],
    )


class Probe(Model):
    """The state, and nothing else."""

    status: str = Field(description="live or ready.", examples=["ready"])


class ServerInfo(Model):
    name: str = Field(description="What this is.", examples=["paramserver"])
    version: str = Field(description="Version of the server.", examples=["0.1.0"])
    protocol_version: int = Field(description="Version of the REST surface.", examples=[1])
    python: str = Field(description="Version of Python.", examples=["3.11.7"])
    numpy: str = Field(description="Version of numpy.", examples=["2.4.6"])
    state: str = Field(description="ready, restoring or draining.", examples=["ready"])
    durability: str = Field(description="What a crash may lose: none, everysec or always.", examples=["everysec"])
    journal: Journal | None = Field(
        description="What the journal has done; null with durability none.", examples=[None]
    )
    checkpoints: bool = Field(description="Whether there is a data directory to save to.", examples=[True])
    started_at: str = Field(description="RFC 3339 in UTC.", examples=["2026-11-24T08:07:06.123456Z"])
    commit: Commit
    variables: int = Field(description="How many variables there are.", examples=[8])
    memory: Memory = Field(description="What the values take.", examples=[{}])
    connections: Connections | None = Field(
        description="Who is connected; null where another server than ours runs the app.",
        examples=[{"open": 3, "cut": {}}],
    )
    limits: dict[str, int | None] = Field(
        description="What a request may be, in bytes or counts.",
        examples=[{"body_limit_nbytes": 1073741824, "variables_limit": 10000}],
    )


class ProblemError(Model):
    name: str = Field(description="The variable, or the path of the field.", examples=["conv1/weight"])
    code: str = Field(description="Problem code of this difference.", examples=["shape_mismatch"])
    detail: str = Field(description="What was wanted, what came, what to do.", examples=["wants shape [2], got [3]"])


class ProblemDocument(Model):
    """RFC 9457, with a stable code."""

    type: str = Field(description="Names the kind of problem.", examples=["urn:paramserver:problem:shape_mismatch"])
    title: str = Field(description="The kind of problem, for humans.", examples=["The shape does not fit"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What was wanted, what came, what to do.", examples=["wants shape [2], got [3]"])
    code: str = Field(description="Stable name of the kind of problem.", examples=["shape_mismatch"])
    errors: list[ProblemError] = Field(description="Every single difference.", examples=[[]])
    instance: str | None = Field(None, description="Id under which the server logged it.", examples=[None])

"""Forms of checkpoints: save, list, inspect, restore."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from paramserver.http.models.base import INT64, PIECEWISE, Commit, Kept, Model, Names, SelectionBody, shown_by


class SaveBody(SelectionBody):
    model_config = shown_by(
        {"id": "mnist/epoch-3", "step": 1200, "metadata": {"loss": 0.31}},
        {"prefix": "conv1", "series": "mnist", "max_to_keep": 3},
    )

    id: str | None = Field(
        None, description="Name of the checkpoint; ckpt-<commit> unless given.", examples=["mnist/epoch-3"]
    )
    step: int | None = Field(None, ge=0, le=INT64, description="The training step it stands for.", examples=[1200])
    series: str | None = Field(
        None, max_length=200, description="Checkpoints that are counted and retired together.", examples=["mnist"]
    )
    max_to_keep: int | None = Field(
        None, ge=0, le=INT64, description="Newest of the series that are kept; 0: all.", examples=[5]
    )
    keep_checkpoint_every_n_hours: float | None = Field(
        None,
        ge=0,
        description="Of those beyond, one is kept for good for every so many hours; 0: all.",
        examples=[12.0],
    )
    shard_nbytes: int | None = Field(
        None,
        ge=0,
        le=INT64,
        description="Most bytes of values in one file, at least 1024; 0: all in one.",
        examples=[5_000_000_000],
    )
    metadata: Kept | None = Field(
        None, description="Whatever should stand beside the values.", examples=[{"loss": 0.31}]
    )


class DownloadQuery(Model):
    file: str | None = Field(
        None,
        max_length=200,
        description="Name of one of its files; may be left out when all values are in one.",
        examples=["model.safetensors"],
    )


class RestoreBody(Model):
    model_config = shown_by({"names": ["conv1/weight"]}, {"rename": {"first/weight": "conv1/weight"}, "strict": True})

    names: Names | None = None
    rename: Annotated[dict[str, str], PIECEWISE] | None = Field(
        None, description="Variable to the name it was saved by.", examples=[{"new/weight": "old/weight"}]
    )
    reshape: bool | None = Field(
        None, description="Take a saved value of another shape that has as many elements.", examples=[False]
    )
    strict: bool | None = Field(None, description="Refuse the whole when anything does not fit.", examples=[True])
    create: bool | None = Field(None, description="Create variables that the server lacks.", examples=[True])
    restore_sequentially: bool | None = Field(
        None,
        description="One variable after the other, in bounded memory; not atomic, and others wait meanwhile.",
        examples=[False],
    )
    dry_run: bool | None = Field(None, description="Answer as the restore would, and change nothing.", examples=[False])


class CheckpointFile(Model):
    name: str = Field(description="Name of the file.", examples=["model.safetensors"])
    nbytes: int = Field(description="Its size in bytes.", examples=[103000])
    sha256: str = Field(
        description="Its SHA-256, in hex.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )


class CheckpointProblem(Model):
    code: str = Field(description="The problem's code.", examples=["disk_full"])
    detail: str = Field(description="In words, with the way out.", examples=["the disk is full while saving ..."])


class CheckpointInfo(Model):
    model_config = shown_by(
        {
            "id": "mnist/epoch-3",
            "state": "complete",
            "commit": 42,
            "step": 1200,
            "created": "2026-11-24T08:07:06.123456Z",
            "nbytes": 103000,
            "variables": 8,
            "skipped": [],
            "files": [
                {
                    "name": "model.safetensors",
                    "nbytes": 103000,
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                }
            ],
            "series": "default",
            "full": True,
            "metadata": {"loss": 0.31},
        }
    )

    id: str = Field(description="Name of the checkpoint.", examples=["ckpt-42"])
    state: str = Field(
        description="`complete` when it can be restored; `saving`, `failed` or `damaged` when it cannot.",
        examples=["complete"],
    )
    commit: Commit
    step: int | None = Field(description="The training step it stands for.", examples=[1200])
    created: str = Field(description="RFC 3339 in UTC.", examples=["2026-11-24T08:07:06.123456Z"])
    nbytes: int = Field(description="Bytes of all its files.", examples=[103000])
    variables: int = Field(description="How many variables it holds.", examples=[8])
    skipped: list[str] = Field(description="Variables that had no value to save.", examples=[[]])
    files: list[CheckpointFile] = Field(description="Its files.", examples=[[]])
    series: str = Field(description="The series it is counted and retired in.", examples=["default"])
    full: bool = Field(description="Whether a start of the server can restore it.", examples=[True])
    metadata: dict[str, JsonValue] = Field(description="What was put beside the values.", examples=[{"loss": 0.31}])
    problem: CheckpointProblem | None = Field(None, description="Why it failed, or what is damaged.", examples=[None])


class CheckpointList(Model):
    checkpoints: list[CheckpointInfo] = Field(description="Newest first.", examples=[[]])


class Difference(Model):
    name: str = Field(description="The variable.", examples=["conv1/weight"])
    code: str = Field(description="The problem's code.", examples=["shape_mismatch"])
    detail: str = Field(
        description="In words, with the way out.",
        examples=["variable 'w' has shape [3], the checkpoint holds [2]; restore other names"],
    )


class Restored(Model):
    model_config = shown_by(
        {"commit": 43, "restored": ["conv1/weight"], "missing": ["step"], "unexpected": [], "differences": []}
    )

    commit: Commit
    restored: Names
    missing: Names
    unexpected: Names
    differences: list[Difference] = Field(
        description="Why each that was asked for was left out; none where `strict`.", examples=[[]]
    )

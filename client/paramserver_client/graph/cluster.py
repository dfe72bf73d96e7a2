"""Clusters of TensorFlow 1, for programs that describe one: everything is placed, shown, and runs in this process.

Variables live on the parameter server that a session names, whatever device they are on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from paramserver_client.graph.devices import DeviceSpec
from paramserver_client.graph.node import Operation

_VARIABLES: Final = ("Variable", "VariableV2", "AutoReloadVariable", "VarHandleOp")


class ClusterSpec:
    """The addresses of a cluster's tasks, by job: `{"ps": ["a:1"], "worker": ["b:1", "b:2"]}`; a job may also be a dict
    from task numbers. Raises TypeError for anything else."""

    def __init__(self, cluster: Any) -> None:
        if isinstance(cluster, ClusterSpec):
            cluster = cluster.as_dict()
        if not isinstance(cluster, Mapping):
            raise TypeError(
                "`cluster` must be a dictionary mapping one or more job names to lists of network addresses"
            )
        self._jobs: dict[str, dict[int, str]] = {}
        for job, tasks in cluster.items():
            if isinstance(tasks, Mapping):
                self._jobs[job] = {int(number): str(address) for number, address in tasks.items()}
            elif isinstance(tasks, Sequence) and not isinstance(tasks, str):
                self._jobs[job] = dict(enumerate(map(str, tasks)))
            else:
                raise TypeError(f"The tasks for job {job!r} must be a list or a dictionary from integers to strings.")

    @property
    def jobs(self) -> list[str]:
        return list(self._jobs)

    def as_dict(self) -> dict[str, Any]:
        """The addresses by job: a list where the tasks are numbered from 0 without gaps, else a dict."""
        return {
            job: [tasks[number] for number in sorted(tasks)]
            if sorted(tasks) == list(range(len(tasks)))
            else dict(tasks)
            for job, tasks in self._jobs.items()
        }

    def num_tasks(self, job_name: str) -> int:
        return len(self._tasks(job_name))

    def task_indices(self, job_name: str) -> list[int]:
        return sorted(self._tasks(job_name))

    def task_address(self, job_name: str, task_index: int) -> str:
        """The address of one task. Raises ValueError when there is none."""
        tasks = self._tasks(job_name)
        if task_index not in tasks:
            raise ValueError(f"No task with index {task_index!r} in job {job_name!r}")
        return tasks[task_index]

    def job_tasks(self, job_name: str) -> list[str | None]:
        """The addresses by task number, None in gaps."""
        tasks = self._tasks(job_name)
        return [tasks.get(number) for number in range(max(tasks, default=-1) + 1)]

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterSpec) and self._jobs == other._jobs

    def __hash__(self) -> int:
        return hash(tuple(self._jobs))

    def __repr__(self) -> str:
        return f"ClusterSpec({self.as_dict()!r})"

    def _tasks(self, job_name: str) -> dict[int, str]:
        if job_name not in self._jobs:
            raise ValueError(f"No such job in cluster: {job_name!r}")
        return self._jobs[job_name]


def replica_device_setter(
    ps_tasks: int = 0,
    ps_device: str = "/job:ps",
    worker_device: str = "/job:worker",
    merge_devices: bool = True,
    cluster: Any = None,
    ps_ops: Sequence[str] | None = None,
    ps_strategy: Callable[[Operation], int] | None = None,
) -> Callable[[Operation], str] | None:
    """A function for `tf.device`: variables go to the tasks of `ps_device` in turn, all else to `worker_device`.

    None without tasks. The names are shown and change nothing else: variables are on the server of the session.

    >>> import paramserver_client.graph as tf
    >>> with tf.Graph().as_default(), tf.device(tf.train.replica_device_setter(ps_tasks=2)):
    ...     variables = [tf.Variable(0.0) for _ in range(3)]
    >>> [variable.device for variable in variables]
    ['/job:ps/task:0', '/job:ps/task:1', '/job:ps/task:0']
    """
    if cluster is not None:
        job = DeviceSpec.from_string(ps_device).job or "ps"
        tasks = ClusterSpec(cluster).as_dict()
        ps_tasks = len(tasks.get(job, ()))
    if not ps_tasks:
        return None
    kinds = _VARIABLES if ps_ops is None else tuple(ps_ops)
    chosen = ps_strategy or _in_turn(ps_tasks)

    def device(op: Operation) -> str:
        spec = DeviceSpec.from_string(ps_device if op.type in kinds else worker_device)
        if op.type in kinds and spec.task is None:
            spec = spec.merged_with(DeviceSpec(task=chosen(op)))
        return spec.to_string()

    return device


def _in_turn(tasks: int) -> Callable[[Operation], int]:
    placed = 0

    def task(op: Operation) -> int:
        nonlocal placed
        placed += 1
        return (placed - 1) % tasks

    return task

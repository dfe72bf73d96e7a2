"""What the types of the public names promise. Read by mypy, in `test_public_api.py`; it never runs.

`assert_type` holds each result; a `type: ignore` marks a use that must be an error, and mypy complains when it is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import httpx
import numpy as np

import paramserver_client as ps
from paramserver_wire.tensors import Array


def threads(client: ps.ParameterClient) -> None:
    with client as entered:
        assert_type(entered, ps.ParameterClient)
    assert_type(client.transport, ps.Transport)
    assert_type(client.close(), None)
    assert_type(client.server(), dict[str, Any])
    assert_type(client.wait_ready(10), dict[str, Any])

    assert_type(client.create_variable("w", (2, 3), np.float32, {"type": "zeros"}, reuse="auto"), ps.Metadata)
    assert_type(client.create_variable("w", value=[1.0], trainable=False, collections=["mine"]), ps.Metadata)
    assert_type(client.get_variable("w"), ps.Metadata)
    assert_type(client.list_variables(prefix="a", initialized=True), list[ps.Metadata])
    assert_type(client.update_variable("w", trainable=True), ps.Metadata)
    assert_type(client.delete_variable("w"), None)
    assert_type(client.delete_variables(prefix="a", confirm=True), list[str])

    assert_type(client.read("w"), Array)
    assert_type(client.read("w", slice=np.s_[0:2, ..., 1], dtype="float16"), Array)
    assert_type(client.read("w", out=np.ones(2)), Array)
    assert_type(client.read("w", with_version=True), tuple[Array, str])
    assert_type(client.read("w", after_version="x-1", wait_s=3), Array | None)
    assert_type(client.read("w", with_version=True, after_version=1), tuple[Array, str] | None)
    assert_type(client.wait("w", after_version="x-1", timeout_s=600), tuple[Array, str])
    assert_type(client.gather("w", [0, 2]), Array)
    snapshot = client.pull(["w"], if_versions={"w": "x-1"})
    assert_type(snapshot, ps.Snapshot)
    assert_type(snapshot["w"], Array)
    assert_type(snapshot.commit, int)
    assert_type(snapshot.versions, Mapping[str, str])

    assert_type(client.assign("w", 1.0, if_version="x-1"), ps.Applied)
    assert_type(client.assign_add("w", [1.0], use_locking=False), ps.Applied)
    assert_type(client.assign_sub("w", np.ones(2), return_value=True).values, Mapping[str, Array])
    assert_type(client.scatter_update("w", [0], [1.0]), ps.Applied)
    assert_type(client.scatter_add("w", [0], [1.0]), ps.Applied)
    assert_type(client.scatter_sub("w", [0], [1.0]), ps.Applied)
    assert_type(client.push({"w": 1.0}, "assign", returns=["w"]), ps.Applied)
    assert_type(client.push([ps.Update("w", "assign_add", 1.0)]).versions, Mapping[str, int])

    assert_type(client.create_optimizer("adam", "adam", learning_rate=0.1), ps.OptimizerInfo)
    assert_type(client.optimizers(), list[ps.OptimizerInfo])
    assert_type(client.get_optimizer("adam"), ps.OptimizerInfo)
    assert_type(client.delete_optimizer("adam"), None)
    assert_type(client.push_gradients({"w": [1.0]}, "adam", global_step="step"), ps.Applied)

    assert_type(client.set_scope("enc", initializer="zeros", dtype="float32"), None)
    assert_type(client.scopes(prefix="enc", depth=1), list[ps.ScopeInfo])
    assert_type(client.get_scope("enc"), ps.ScopeInfo)
    assert_type(client.delete_scope("enc"), None)
    assert_type(client.collections(), dict[str, int])
    assert_type(client.get_collection("mine"), list[str])
    assert_type(client.add_to_collection("mine", ["w"]), None)
    assert_type(client.remove_from_collection("mine", "w"), None)

    assert_type(client.initialize(["w"], seed=1), ps.Initialized)
    assert_type(client.initialize_variable("w"), ps.Initialized)
    assert_type(client.is_initialized("w"), bool)
    assert_type(client.report_uninitialized(), list[str])
    assert_type(client.assert_initialized(prefix="a"), None)
    assert_type(client.wait_until_initialized("w", timeout_s=600), None)

    assert_type(client.save("first", metadata={"loss": 1}), ps.CheckpointInfo)
    assert_type(client.restore(rename={"a": "b"}), ps.Restored)
    assert_type(client.checkpoints(), list[ps.CheckpointInfo])
    assert_type(client.get_checkpoint(), ps.CheckpointInfo)
    assert_type(client.delete_checkpoint("first"), None)

    assert_type(client.export_safetensors(Path("model.safetensors"), "enc"), ps.Exported)
    assert_type(client.download_checkpoint("model.safetensors", "first"), None)
    assert_type(client.import_safetensors("model.safetensors", progress=print), ps.Imported)


async def tasks(client: ps.AsyncParameterClient) -> None:
    async with client as entered:
        assert_type(entered, ps.AsyncParameterClient)
    assert_type(client.transport, ps.AsyncTransport)
    assert_type(await client.close(), None)
    assert_type(await client.server(), dict[str, Any])
    assert_type(await client.wait_ready(10), dict[str, Any])

    assert_type(await client.create_variable("w", (2, 3), np.float32, {"type": "zeros"}), ps.Metadata)
    assert_type(await client.get_variable("w"), ps.Metadata)
    assert_type(await client.list_variables(prefix="a", initialized=True), list[ps.Metadata])
    assert_type(await client.update_variable("w", trainable=True), ps.Metadata)
    assert_type(await client.delete_variable("w"), None)
    assert_type(await client.delete_variables(prefix="a", confirm=True), list[str])

    assert_type(await client.read("w"), Array)
    assert_type(await client.read("w", with_version=True), tuple[Array, str])
    assert_type(await client.read("w", after_version="x-1", wait_s=3), Array | None)
    assert_type(await client.read("w", with_version=True, after_version=1), tuple[Array, str] | None)
    assert_type(await client.wait("w", after_version="x-1", timeout_s=600), tuple[Array, str])
    assert_type(await client.gather("w", [0, 2]), Array)
    assert_type(await client.pull(["w"]), ps.Snapshot)

    assert_type(await client.assign("w", 1.0), ps.Applied)
    assert_type(await client.assign_add("w", [1.0], use_locking=False), ps.Applied)
    assert_type(await client.assign_sub("w", np.ones(2), return_value=True), ps.Applied)
    assert_type(await client.scatter_update("w", [0], [1.0]), ps.Applied)
    assert_type(await client.scatter_add("w", [0], [1.0]), ps.Applied)
    assert_type(await client.scatter_sub("w", [0], [1.0]), ps.Applied)
    assert_type(await client.push({"w": 1.0}, "assign", returns=["w"]), ps.Applied)

    assert_type(await client.create_optimizer("adam", "adam", learning_rate=0.1), ps.OptimizerInfo)
    assert_type(await client.optimizers(), list[ps.OptimizerInfo])
    assert_type(await client.get_optimizer("adam"), ps.OptimizerInfo)
    assert_type(await client.delete_optimizer("adam"), None)
    assert_type(await client.push_gradients({"w": [1.0]}, "adam", global_step="step"), ps.Applied)

    assert_type(await client.set_scope("enc", initializer="zeros", dtype="float32"), None)
    assert_type(await client.scopes(prefix="enc", depth=1), list[ps.ScopeInfo])
    assert_type(await client.get_scope("enc"), ps.ScopeInfo)
    assert_type(await client.delete_scope("enc"), None)
    assert_type(await client.collections(), dict[str, int])
    assert_type(await client.get_collection("mine"), list[str])
    assert_type(await client.add_to_collection("mine", ["w"]), None)
    assert_type(await client.remove_from_collection("mine", "w"), None)

    assert_type(await client.initialize(["w"], seed=1), ps.Initialized)
    assert_type(await client.initialize_variable("w"), ps.Initialized)
    assert_type(await client.is_initialized("w"), bool)
    assert_type(await client.report_uninitialized(), list[str])
    assert_type(await client.assert_initialized(prefix="a"), None)
    assert_type(await client.wait_until_initialized("w", timeout_s=600), None)

    assert_type(await client.save("first", metadata={"loss": 1}), ps.CheckpointInfo)
    assert_type(await client.restore(rename={"a": "b"}), ps.Restored)
    assert_type(await client.checkpoints(), list[ps.CheckpointInfo])
    assert_type(await client.get_checkpoint(), ps.CheckpointInfo)
    assert_type(await client.delete_checkpoint("first"), None)

    assert_type(await client.export_safetensors(Path("model.safetensors"), "enc"), ps.Exported)
    assert_type(await client.download_checkpoint("model.safetensors", "first"), None)
    assert_type(await client.import_safetensors("model.safetensors", progress=print), ps.Imported)


def made() -> None:
    ps.ParameterClient("http://h:1", token="t", timeout_s=3, client_id="me", transport=httpx.HTTPTransport())
    ps.ParameterClient(transport=ps.HttpTransport("http://h:1", transport=ps.SocketTransport(max_connections=3)))
    ps.ParameterClient(data_dir=Path("data"))
    ps.AsyncParameterClient("http://h:1", token="t", timeout_s=3, client_id="me", transport=httpx.AsyncHTTPTransport())
    ps.AsyncParameterClient(transport=ps.AsyncHttpTransport("http://h:1", transport=ps.AsyncSocketTransport()))


def errors(error: ps.ParameterServerError) -> None:
    assert_type(ps.BY_CODE, Mapping[str, type[ps.ParameterServerError]])
    assert_type(error.code, str)
    assert_type(error.detail, str)
    assert_type(error.request_id, str | None)
    assert_type(error.status, int | None)


async def wrong_uses(client: ps.ParameterClient, tasks: ps.AsyncParameterClient) -> None:
    client.read(5)  # type: ignore[call-overload]
    client.read("w", wait_s=3)  # type: ignore[call-overload]
    client.wait("w", timeout_s=3)  # type: ignore[call-arg]
    client.create_variable("w", reuse="perhaps")  # type: ignore[arg-type]
    client.push(3)  # type: ignore[arg-type]
    client.pull(out={"w": [1.0]})  # type: ignore[dict-item]
    client.save(step="1")  # type: ignore[arg-type]
    client.pull()["w"] = np.ones(2)  # type: ignore[index]
    client.get_variable("w").version = 3  # type: ignore[misc]
    await client.server()  # type: ignore[misc]
    tasks.pull()["w"]  # type: ignore[index]
    with tasks:  # type: ignore[attr-defined]
        pass
    ps.ParameterClient(transport=httpx.AsyncHTTPTransport())  # type: ignore[arg-type]
    ps.AsyncParameterClient(transport=httpx.HTTPTransport())  # type: ignore[arg-type]
    ps.ParameterClient("http://h", "token")  # type: ignore[call-arg]

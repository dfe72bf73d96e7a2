# Made from calls/initializing.py by scripts/make_async.py. Do not change it here: change calls/initializing.py, run `make generate`.
"""Calls that run initializers, and ask what has no value yet."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

from paramserver_client.aio.calls.base import Calls
from paramserver_client.aio.waiting import pause
from paramserver_client.calls.initializing import _never_met
from paramserver_client.errors import (
    DeadlineExceededError,
    ParameterServerError,
    UninitializedError,
    VariableNotFoundError,
)
from paramserver_client.results import Initialized, initialized_of
from paramserver_client.retry import delay_s
from paramserver_client.values import names_of


class InitializingCalls(Calls):
    """Calls that run initializers, and ask what has no value yet."""

    async def initialize(
        self,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        *,
        only_uninitialized: bool = True,
        seed: int | None = None,
    ) -> Initialized:
        """Run the initializers of the selected variables (default: all but `local_variables`) in one commit.

        Variables that have a value keep it, unless `only_uninitialized=False`; they are `skipped`, as are those that
        have no initializer. `seed` wins over the initializers' own; the same seed gives the same values in any order.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", (2,), "float32", "ones")
        ...     (await client.initialize()).initialized
        ('w',)
        """
        answer = await self._ask(
            "initialize",
            names=names_of(names),
            prefix=prefix,
            collection=collection,
            only_uninitialized=only_uninitialized,
            seed=seed,
        )
        return initialized_of(answer.body)

    async def initialize_variable(
        self, name: str, *, only_uninitialized: bool = True, seed: int | None = None
    ) -> Initialized:
        """Run the initializer of one variable; as `initialize`, but raises `NoInitializerError` if it has none."""
        answer = await self._ask("initialize_variable", name=name, only_uninitialized=only_uninitialized, seed=seed)
        return initialized_of(answer.body)

    async def is_initialized(self, name: str) -> bool:
        """Whether a variable has a value. Raises `VariableNotFoundError`."""
        return bool((await self._ask("is_initialized", name=name)).body["initialized"])

    async def report_uninitialized(self, collection: str | None = None, prefix: str | None = None) -> list[str]:
        """The names of the variables that have no value yet (default: of all but `local_variables`)."""
        names: list[str] = (await self._ask("report_uninitialized", collection=collection, prefix=prefix)).body["names"]
        return names

    async def assert_initialized(
        self,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
    ) -> None:
        """Return quietly if all selected variables have a value, else raise `UninitializedError` listing the others."""
        await self._ask("assert_initialized", names=names_of(names), prefix=prefix, collection=collection)

    async def wait_until_initialized(self, names: str | Iterable[str], *, timeout_s: float) -> None:
        """Wait until all of these variables exist and have a value, for a worker that may start before its chief.

        It asks again and again, ever less often, at last every second or so. Raises `DeadlineExceededError` after
        `timeout_s` seconds, naming in `errors` what is missing still; `UnreachableError` when there is no server either.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=1.0)
        ...     await client.wait_until_initialized(["w"], timeout_s=60)
        """
        deadline = time.monotonic() + timeout_s
        wanted = names_of(names) or []
        unmet: ParameterServerError | None = None
        tries = 0
        while True:
            tries += 1
            try:
                await self._ask(
                    "assert_initialized", extra_s=deadline - time.monotonic() - self._timeout_s, names=wanted
                )
                return
            except (UninitializedError, VariableNotFoundError) as error:
                unmet = error
            except DeadlineExceededError as error:
                # The last question ran out of time; what the one before was told still says what is missing.
                if unmet is None:
                    raise
                raise _never_met(unmet, len(wanted), timeout_s) from error
            wait_s = delay_s(tries, 0.0, random.random())
            if time.monotonic() + wait_s >= deadline:
                raise _never_met(unmet, len(wanted), timeout_s) from unmet
            await pause(wait_s)

"""Calls that run initializers, and ask what has no value yet."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

from paramserver_client.calls.base import Calls
from paramserver_client.errors import (
    DeadlineExceededError,
    ParameterServerError,
    UninitializedError,
    VariableNotFoundError,
)
from paramserver_client.results import Initialized, initialized_of
from paramserver_client.retry import delay_s
from paramserver_client.values import names_of
from paramserver_client.waiting import pause


class InitializingCalls(Calls):
    """Calls that run initializers, and ask what has no value yet."""

    def initialize(
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

        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("w", (2,), "float32", "ones")
        ...     client.initialize().initialized
        ('w',)
        """
        answer = self._ask(
            "initialize",
            names=names_of(names),
            prefix=prefix,
            collection=collection,
            only_uninitialized=only_uninitialized,
            seed=seed,
        )
        return initialized_of(answer.body)

    def initialize_variable(
        self, name: str, *, only_uninitialized: bool = True, seed: int | None = None
    ) -> Initialized:
        """Run the initializer of one variable; as `initialize`, but raises `NoInitializerError` if it has none."""
        answer = self._ask("initialize_variable", name=name, only_uninitialized=only_uninitialized, seed=seed)
        return initialized_of(answer.body)

    def is_initialized(self, name: str) -> bool:
        """Whether a variable has a value. Raises `VariableNotFoundError`."""
        return bool(self._ask("is_initialized", name=name).body["initialized"])

    def report_uninitialized(self, collection: str | None = None, prefix: str | None = None) -> list[str]:
        """The names of the variables that have no value yet (default: of all but `local_variables`)."""
        names: list[str] = self._ask("report_uninitialized", collection=collection, prefix=prefix).body["names"]
        return names

    def assert_initialized(
        self,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
    ) -> None:
        """Return quietly if all selected variables have a value, else raise `UninitializedError` listing the others."""
        self._ask("assert_initialized", names=names_of(names), prefix=prefix, collection=collection)

    def wait_until_initialized(self, names: str | Iterable[str], *, timeout_s: float) -> None:
        """Wait until all of these variables exist and have a value, for a worker that may start before its chief.

        It asks again and again, ever less often, at last every second or so. Raises `DeadlineExceededError` after
        `timeout_s` seconds, naming in `errors` what is missing still; `UnreachableError` when there is no server either.

        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("w", value=1.0)
        ...     client.wait_until_initialized(["w"], timeout_s=60)
        """
        deadline = time.monotonic() + timeout_s
        wanted = names_of(names) or []
        unmet: ParameterServerError | None = None
        tries = 0
        while True:
            tries += 1
            try:
                self._ask("assert_initialized", extra_s=deadline - time.monotonic() - self._timeout_s, names=wanted)
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
            pause(wait_s)


def _never_met(unmet: ParameterServerError, count: int, timeout_s: float) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"Wanted all of {count} variables to have a value within {timeout_s:g} s: {unmet.detail} "
        "Is the worker that creates and initializes them running?",
        errors=unmet.errors,
        outcome="not applied",
    )

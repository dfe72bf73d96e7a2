from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import paramserver_client as ps


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_async", Path(__file__).parents[2] / "scripts" / "make_async.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_async = _script()


def converted(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What becomes of one module of calls beside the real base."""
    package = tmp_path / "paramserver_client"
    (package / "calls").mkdir(parents=True)
    (package / "calls" / "base.py").write_text((make_async.PACKAGE / "calls" / "base.py").read_text())
    (package / "calls" / "mine.py").write_text(f'"""Mine."""\n{text}')
    monkeypatch.setattr(make_async, "PACKAGE", package)
    made = make_async.made([make_async.Source(path) for path in sorted((package / "calls").glob("*.py"))])
    return str(made[package / "aio" / "calls" / "mine.py"]).partition('"""Mine."""\n')[2].strip()


def test_what_is_checked_in_is_what_the_script_makes() -> None:
    texts = make_async.made(make_async.sources())
    calls = make_async.PACKAGE / "aio" / "calls"
    assert set(calls.glob("*.py")) == {path for path in texts if path.parent == calls}, "run: make generate"
    for path, text in texts.items():
        assert path.read_text() == text, f"{path.name} is not what its source makes it; run: make generate"


def test_both_clients_have_the_same_calls() -> None:
    threads, tasks = (
        {
            name: inspect.signature(member)
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }
        for kind in (ps.ParameterClient, ps.AsyncParameterClient)
    )
    assert threads == tasks
    assert all(inspect.iscoroutinefunction(getattr(ps.AsyncParameterClient, name)) for name in tasks)


def test_both_constructors_take_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, tasks = (inspect.signature(kind).parameters for kind in (ps.ParameterClient, ps.AsyncParameterClient))
    assert {name: (each.kind, each.default) for name, each in threads.items()} == {
        name: (each.kind, each.default) for name, each in tasks.items()
    }


def test_every_mixin_is_in_the_client() -> None:
    from paramserver_client.calls.base import Calls

    assert set(Calls.__subclasses__()) <= set(ps.ParameterClient.__mro__)


def test_what_calls_what_waits_waits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = '''
from paramserver_client.calls.base import Calls

_LIMIT = 3

class MineCalls(Calls):
    """Calls."""

    def far(self) -> int:
        """Far.

        >>> with ParameterClient() as client:
        ...     client.far() + 1
        4
        """
        return self._near()[0].size + _LIMIT

    def _near(self) -> list[str]:
        return [each for each in self._ask("near").body]

    def still(self) -> int:
        return _plain(_LIMIT)

def _plain(number: int) -> int:
    return number
'''
    assert (
        converted(source, tmp_path, monkeypatch)
        == '''
from __future__ import annotations

from paramserver_client.aio.calls.base import Calls
from paramserver_client.calls.mine import _LIMIT, _plain


class MineCalls(Calls):
    """Calls."""

    async def far(self) -> int:
        """Far.

        >>> async with AsyncParameterClient() as client:
        ...     await client.far() + 1
        4
        """
        return (await self._near())[0].size + _LIMIT

    async def _near(self) -> list[str]:
        return [each for each in (await self._ask("near")).body]

    def still(self) -> int:
        return _plain(_LIMIT)
'''.strip()
    )


@pytest.mark.parametrize("waiting", ['lambda: self._ask("x")', 'list(self._ask(each) for each in "ab")'])
def test_what_cannot_wait_is_refused_by_its_line(waiting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"from paramserver_client.calls.base import Calls\nclass MineCalls(Calls):\n    def f(self):\n        return {waiting}\n"
    with pytest.raises(SystemExit, match=r"mine\.py:5: .*Write it as a loop"):
        converted(source, tmp_path, monkeypatch)

"""The examples of every page, run from top to bottom as a reader would, and what they print."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.pages import blocks_of, curl_blocks, run_curl, run_page

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_examples_run_and_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    for block, printed, shown in run_page(page, tmp_path):
        if shown is not None:
            assert printed == shown, f"{page.name}, line {block.line}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if curl_blocks(page)], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_curl_lines_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    assert shutil.which("curl"), "the page is for people with curl"
    run_curl(page, tmp_path)


def test_a_block_that_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nprint(x)\n```\n\n```text\n2\n```\n")
    assert [block.language for block in blocks_of(page)] == ["python", "python", "text"]
    assert [(out, shown) for _, out, shown in run_page(page, tmp_path)] == [("", None), ("1\n", "2\n")]


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Words.\n\n```python\nx = 1\nx.missing\n```\n")
    with pytest.raises(AssertionError, match=r'page\.md", line 5'):
        run_page(page, tmp_path)

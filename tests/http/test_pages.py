"""The pages about the surface: served from the package, whole, and closed to everything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import numpy as np
import pytest

from paramserver import VERSION

TYPES = {"css": "text/css", "js": "text/javascript", "json": "application/json", "svg": "image/svg+xml"}


@pytest.fixture
def served(shared: Any) -> Any:
    return shared


class References(HTMLParser):
    """What a page loads, and what it carries itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [value for name in ("src", "href") if (value := given.get(name))]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if (tag == "script" and "src" not in given) or tag == "style":
            self.inline.append(tag)


def test_whatever_the_page_loads_is_served_here(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f"paramserver {VERSION}" in page.text
    references = References()
    references.feed(page.text)
    assert len(references.found) == 6
    assert references.inline == []
    script = http.get("/docs/page.js").text
    references.found += re.findall(r'url: "([^"]+)"', script)
    for reference in references.found:
        url = urljoin(str(page.url), reference)
        assert url.startswith(str(http.base_url)), f"{reference} is loaded from elsewhere"
        answer = http.get(url)
        assert answer.status_code == 200, reference
        assert answer.content
        assert answer.headers["content-type"].startswith(TYPES[reference.rpartition(".")[2]]), reference
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_may_load_nothing_from_elsewhere(http: httpx.Client) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in http.get("/docs").headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "http" not in " ".join(policy.values())


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/page.js", "/docs/swagger-ui-bundle.js"])
def test_pages_are_kept_by_their_tag(http: httpx.Client, path: str) -> None:
    page = http.get(path)
    again = http.get(path, headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(page.content))
    assert http.post(path).status_code == 405


def test_nothing_but_the_pages_files_is_served(http: httpx.Client) -> None:
    for path in ("/docs/", "/docs/__init__.py", "/docs/redoc.standalone.js", "/redoc"):
        assert http.get(path).status_code == 404, path


def test_names_may_be_percent_encoded_as_the_page_does_it(served: Any, http: httpx.Client) -> None:
    served.create("conv1/layer.a/weight", np.asarray([1.0, 2.0]))
    path = f"/v1/variables/{quote('conv1/layer.a/weight', safe='')}"
    assert "%2F" in path
    assert http.get(path).json()["name"] == "conv1/layer.a/weight"
    assert http.get(f"{path}:read").json()["value"] == [1.0, 2.0]
    assert http.post(f"{path}:assign_add", json=[1.0, 1.0]).status_code == 200
    assert http.get("/v1/variables/conv1/layer.a/weight:read").json()["value"] == [2.0, 3.0]

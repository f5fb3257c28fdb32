"""`http`: which hosts it reaches, and what of their answers the model is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from agentrt.errors import DefinitionError
from agentrt_tools import http_tool
from agentrt_tools.http import SHOWN_CHARACTERS, HostNotAllowed
from tests.support.loopback_app import served

SEEN: list[tuple[str, str]] = []


async def _echo(request: Request) -> Response:
    body = (await request.body()).decode()
    SEEN.append((request.method, body))
    return JSONResponse({"got": body})


async def _long(_request: Request) -> Response:
    return PlainTextResponse("x" * 10_000)


async def _binary(_request: Request) -> Response:
    return Response(b"\0" * 100, media_type="application/octet-stream")


async def _away(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"])


async def _round(request: Request) -> Response:
    return RedirectResponse("/round")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    routes = [
        Route("/echo", _echo, methods=["GET", "POST"]),
        Route("/long", _long),
        Route("/binary", _binary),
        Route("/away", _away),
        Route("/round", _round),
    ]
    with served(Starlette(routes=routes)) as url:
        yield url


def fetch(url: str, *allow: str, post: bool = False, **arguments: Any) -> str:
    found = http_tool(allow=allow, post=post)

    async def main() -> str:
        shown: str = await found.function(url=url, **arguments)
        return shown

    return anyio.run(main)


def address(url: str) -> str:
    return url.removeprefix("http://")


def test_an_answer_with_its_status_and_kind(url: str) -> None:
    shown = fetch(f"{url}/echo", address(url))
    assert shown == 'HTTP 200, application/json\n{"got":""}'
    assert fetch(f"{url}/nowhere", address(url)).startswith("HTTP 404, text/plain")


def test_a_body_is_posted_only_by_a_tool_that_may(url: str) -> None:
    SEEN.clear()
    fetch(f"{url}/echo", address(url), post=True, body='{"a": 1}')
    assert SEEN == [("POST", '{"a": 1}')]
    assert http_tool(allow=["a.com"], post=True).effect == "write"
    assert http_tool(allow=["a.com"]).effect == "read"
    assert list(http_tool(allow=["a.com"]).signature.names) == ["url"]


def test_long_and_binary_answers(url: str) -> None:
    shown = fetch(f"{url}/long", address(url))
    assert shown.endswith(f"[cut: {SHOWN_CHARACTERS:,} of 10,000 characters shown]")
    assert "100 bytes that are no text" in fetch(f"{url}/binary", address(url))


@pytest.mark.parametrize("allowed", ["example.com", "127.0.0.2:80", "*.0.0.1"])
def test_other_hosts_are_refused(url: str, allowed: str) -> None:
    with pytest.raises(HostNotAllowed, match=r"127\.0\.0\.1 is (not one of the hosts|127)"):
        fetch(f"{url}/echo", allowed)


def test_a_private_address_has_to_be_listed_with_its_port(url: str) -> None:
    with pytest.raises(HostNotAllowed, match=r"127\.0\.0\.1, an address of this network"):
        fetch(f"{url}/echo", "127.0.0.1")
    with pytest.raises(HostNotAllowed, match="an address of this network"):
        fetch(f"{url.replace('127.0.0.1', 'localhost')}/echo", "localhost")


def test_redirects_are_held_against_the_list(url: str) -> None:
    assert "got" in fetch(f"{url}/away?to={url}/echo", address(url))
    with pytest.raises(HostNotAllowed, match=r"example\.org is not one of the hosts"):
        fetch(f"{url}/away?to=http://example.org/", address(url))
    with pytest.raises(ValueError, match="more than 5 redirects"):
        fetch(f"{url}/round", address(url))
    with pytest.raises(ValueError, match="is no URL that begins with"):
        fetch(f"{url}/away?to=file:///etc/passwd", address(url))


@pytest.mark.parametrize("wrong", ["ftp://127.0.0.1/", "nowhere", ""])
def test_what_is_no_url(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no URL"):
        fetch(wrong, "127.0.0.1:80")


@pytest.mark.parametrize(
    ("entry", "url", "fits"),
    [
        ("example.com", "https://example.com/x", True),
        ("example.com", "https://EXAMPLE.com./x", True),
        ("example.com", "https://www.example.com/", False),
        ("*.example.com", "https://www.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://evilexample.com/", False),
        ("example.com:8443", "https://example.com:8443/", True),
        ("example.com:8443", "https://example.com/", False),
        ("example.com", "https://example.com@evil.org/", False),
    ],
)
def test_which_hosts_fit_an_entry(entry: str, url: str, fits: bool) -> None:
    async def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text="ok")

    found = http_tool(allow=[entry], transport=httpx2.MockTransport(answer))

    async def main() -> str:
        shown: str = await found.function(url=url)
        return shown

    if fits:
        assert "ok" in anyio.run(main)
    else:
        with pytest.raises(HostNotAllowed):
            anyio.run(main)


@pytest.mark.parametrize("entry", ["", "http://a.com", "a.com/x", "a.com:x", "*", "a b"])
def test_entries_that_are_no_hosts_are_refused(entry: str) -> None:
    with pytest.raises(DefinitionError, match="expected a host such as"):
        http_tool(allow=[entry])
    with pytest.raises(DefinitionError, match="expected the hosts that it may reach"):
        http_tool(allow=[])

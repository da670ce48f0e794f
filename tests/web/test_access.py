"""Who is let in, from where, and what a page may do in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

import belaypin.web
from belaypin import UsageError
from tests.web.conftest import TOKEN, client

HERE = "http://127.0.0.1"


def asking(app: Any, *, peer: str = "127.0.0.1", **options: Any) -> httpx.AsyncClient:
    """A client whose address is ``peer``, without a server between."""
    transport = httpx.ASGITransport(app, client=(peer, 50_000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=HERE, **options)


@pytest.fixture
def with_token(empty: str) -> Iterator[httpx.Client]:
    with client(belaypin.web.app(empty, token=TOKEN, actions=True)) as found:
        yield found


def csrf_of(response: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]*)"', response.text)
    assert found is not None
    return found[1]


def come_in(found: httpx.Client, token: str = TOKEN, **fields: str) -> httpx.Response:
    form = {"csrf": csrf_of(found.get("/login")), "token": token, **fields}
    return found.post("/login", data=form, headers={"Origin": str(found.base_url).rstrip("/")})


# --- the door --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "open_door",
    [
        {"hosts": ["dash.example"]},
        {"hosts": ["*"]},
        {"hosts": ["10.0.0.7"]},
        {"token": "too short"},
        {"token": ""},
    ],
)
def test_an_open_door_is_refused(open_door: dict[str, Any]) -> None:
    if open_door == {"token": ""}:
        open_door = {"token": "", "hosts": ["dash.example"]}
    with pytest.raises(UsageError, match="token"):
        belaypin.web.app("sqlite:///app.db", **open_door)


async def test_strangers_are_turned_away_where_nobody_is_asked(empty: str) -> None:
    async with asking(belaypin.web.app(empty), peer="192.0.2.7") as found:
        response = await found.get("/")
        assert response.status_code == 403
        assert "Only this machine" in response.text
        assert "empty.db" not in response.text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.", "[::2]"]
)
async def test_another_name_is_not_answered(host: str, empty: str) -> None:
    async with asking(belaypin.web.app(empty)) as found:
        for path in ("/", "/api/health", "/static/app.css", "/login"):
            response = await found.get(path, headers={"Host": host})
            assert response.status_code == 421


@pytest.mark.parametrize("host", ["localhost:8086", "127.0.0.1", "[::1]:8086", "LOCALHOST"])
async def test_names_of_this_machine_are_answered(host: str, empty: str) -> None:
    async with asking(belaypin.web.app(empty)) as found:
        assert (await found.get("/static/app.css", headers={"Host": host})).status_code == 200


async def test_a_name_that_was_allowed_is_answered(empty: str) -> None:
    app = belaypin.web.app(empty, token=TOKEN, hosts=["Dash.example"])
    async with asking(app, peer="192.0.2.7") as found:
        headers = {"Host": "dash.example", "Authorization": f"Bearer {TOKEN}"}
        assert (await found.get("/api/openapi.json", headers=headers)).status_code == 200


# --- tokens ----------------------------------------------------------------------------------------


def test_without_the_token_there_is_only_the_door(with_token: httpx.Client) -> None:
    for path in (
        "/",
        "/items",
        "/api/health",
        "/api/openapi.json",
        "/events",
        "/nowhere",
        "/do/gc",
    ):
        response = with_token.get(path)
        assert response.status_code == 401, path
        assert "empty.db" not in response.text
    assert with_token.get("/api/health").headers["www-authenticate"] == "Bearer"
    assert with_token.get("/static/app.css").status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9"]
)
def test_another_token_does_not_do(header: str, with_token: httpx.Client) -> None:
    response = with_token.get("/api/pipelines", headers={b"Authorization": header.encode()})
    assert response.status_code == 401


def test_programs_send_the_token(with_token: httpx.Client) -> None:
    response = with_token.get("/api/pipelines", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.json() == {"pipelines": []}


def test_people_type_it_once(with_token: httpx.Client) -> None:
    response = come_in(with_token, next="/leases?q=state:live")
    assert response.status_code == 303
    assert response.headers["location"] == "/leases?q=state:live"
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    page = with_token.get("/leases")
    assert page.status_code == 200
    form = {"csrf": csrf_of(page)}
    origin = {"Origin": str(with_token.base_url).rstrip("/")}
    assert with_token.post("/logout", data=form, headers=origin).status_code == 303
    assert with_token.get("/leases").status_code == 401


def test_a_wrong_token_is_told(with_token: httpx.Client) -> None:
    response = come_in(with_token, token="wrong")
    assert response.status_code == 401
    assert "not the token" in response.text


@pytest.mark.parametrize(
    "where", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb"]
)
def test_the_door_leads_nowhere_else(where: str, with_token: httpx.Client) -> None:
    assert come_in(with_token, next=where).headers["location"] == "/"


@pytest.mark.parametrize("change", ["in-", "out-", ".0"])
def test_a_session_cannot_be_made_up(change: str, with_token: httpx.Client) -> None:
    with_token.get("/")
    value = with_token.cookies["belaypin_session"]
    forged = {
        "in-": value.replace("out-", "in-"),
        "out-": "in-0123456789abcdef." + "0" * 64,
        ".0": value + "0",
    }[change]
    with_token.cookies.clear()
    assert with_token.get("/", headers={"Cookie": f"belaypin_session={forged}"}).status_code == 401


# --- proxies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "header", "status"),
    [
        ("10.0.0.1", "ada", 200),
        ("10.0.0.1", "", 403),
        ("10.0.0.1", "  ", 403),
        ("10.0.0.2", "ada", 403),
        ("127.0.0.1", "ada", 403),
    ],
)
async def test_only_the_trusted_proxy_is_believed(
    peer: str, header: str, status: int, empty: str
) -> None:
    app = belaypin.web.app(
        empty,
        trusted_header="X-Forwarded-User",
        trusted_proxies=["10.0.0.1"],
        hosts=["dash.example"],
    )
    async with asking(app, peer=peer) as found:
        headers = {"Host": "dash.example", "X-Forwarded-User": header}
        response = await found.get("/api/openapi.json", headers=headers)
        assert response.status_code == status


async def test_the_pages_name_the_person(empty: str) -> None:
    app = belaypin.web.app(empty, trusted_header="X-Forwarded-User")
    async with asking(app) as found:
        response = await found.get("/", headers={"X-Forwarded-User": "ada <b>"})
        assert 'class="person" title="Let in by your proxy">ada &lt;b&gt;<' in response.text
    await app.state.dashboard.aclose()


# --- what changes something ------------------------------------------------------------------------

FORMS = (
    "/do/replay",
    "/do/skip",
    "/do/recover",
    "/do/readmit",
    "/do/break-lease",
    "/do/gc",
    "/theme",
)


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
async def test_a_foreign_page_changes_nothing(
    path: str, headers: dict[str, str], empty: str
) -> None:
    async with asking(belaypin.web.app(empty, actions=True)) as found:
        response = await found.post(path, data={"csrf": "x"}, headers=headers)
        assert response.status_code == 403
        assert "own page" in unescape(response.text)


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "\u00e9"])
async def test_a_form_without_our_token_changes_nothing(
    path: str, csrf: str | None, empty: str
) -> None:
    async with asking(belaypin.web.app(empty, actions=True)) as found:
        form = {} if csrf is None else {"csrf": csrf}
        response = await found.post(path, data=form, headers={"Origin": HERE})
        assert response.status_code == 403


def test_the_token_of_another_session_does_not_do(empty: str) -> None:
    with client(belaypin.web.app(empty, actions=True)) as mine:
        with httpx.Client(base_url=mine.base_url) as theirs:
            stolen = csrf_of(theirs.get("/"))
        mine.get("/")
        origin = {"Origin": str(mine.base_url).rstrip("/")}
        assert mine.post("/do/gc", data={"csrf": stolen}, headers=origin).status_code == 403


@pytest.mark.parametrize("path", [path for path in FORMS if path.startswith("/do/")])
def test_a_dashboard_that_only_reads_changes_nothing(path: str, empty: str) -> None:
    with client(belaypin.web.app(empty)) as found:
        form = {"csrf": csrf_of(found.get("/"))}
        origin = {"Origin": str(found.base_url).rstrip("/")}
        response = found.post(path, data=form, headers=origin)
        assert response.status_code == 403


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_do_nothing(method: str, empty: str) -> None:
    async with asking(belaypin.web.app(empty)) as found:
        for path in ("/", "/api/health"):
            response = await found.request(method, path, headers={"Origin": HERE})
            assert response.status_code == 405


async def test_too_much_is_refused(empty: str) -> None:
    async with asking(belaypin.web.app(empty, actions=True)) as found:
        large = await found.post("/theme", content=b"x" * 70_000, headers={"Origin": HERE})
        assert large.status_code == 413
        assert (await found.get("/items", params={"q": "x" * 20_000})).status_code == 414

        async def unannounced() -> Any:
            for _ in range(100):
                yield b"x" * 1_000

        chunked = await found.post("/theme", content=unannounced(), headers={"Origin": HERE})
        assert chunked.status_code == 413


# --- what a page may do ----------------------------------------------------------------------------


def test_every_answer_has_its_policy(empty: str) -> None:
    with client(belaypin.web.app(empty)) as found:
        for path in ("/", "/nowhere", "/api/health", "/items?q=x:y", "/static/app.js"):
            headers = found.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            cache = headers["cache-control"]
            assert cache == "no-store" or "/static/" in path


def test_pages_have_no_script_or_style_of_their_own(dashboard: str) -> None:
    for path in ("/", "/coverage", "/items", "/recovery", "/failures", "/efficiency", "/nowhere"):
        text = httpx.get(dashboard + path).text
        assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
        assert re.findall(r"<style|\bstyle=|\bon[a-z]+=|javascript:", text) == []


async def test_a_mistake_of_ours_tells_strangers_nothing(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(belaypin.AsyncStore, "plan", broken)
    app = belaypin.web.app(empty)
    async with asking(app) as found:
        for path in ("/recovery", "/api/plan"):
            response = await found.get(path)
            assert response.status_code == 500
            assert "a secret" not in response.text
            assert "default-src 'none'" in response.headers["content-security-policy"]
    await app.state.dashboard.aclose()

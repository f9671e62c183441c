"""Who is answered: this server's own pages and programs on this machine, nobody else."""

from __future__ import annotations

import socket

import pytest

from imgreg.serve import body
from imgreg.serve.guard import Access
from serve.conftest import serving


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5", "[", ""])
def test_a_foreign_host_is_refused(served, host) -> None:
    """A name that was made to lead to this machine gets nothing."""
    assert served.ask("GET", "/v2", Host=host).status == 400


def test_a_refused_host_is_explained_on_a_page(served) -> None:
    """To a browser as a page, to a program as JSON."""
    shown = served.ask("GET", "/", Host="evil.example", Accept="text/html")
    assert (shown.status, shown.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert b"evil.example" in shown.body
    assert b"is no address of this server" in shown.body
    assert "is no address of this server" in served.ask("GET", "/", Host="evil.example").json["error"]


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:8000"])
def test_this_machine_is_answered_by_its_own_names(served, host) -> None:
    """Also through a forwarded port."""
    assert served.ask("GET", "/v2", Host=host).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 422),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://localhost", "Host": "localhost"}, 422),
        ({"Sec_Fetch_Site": "none"}, 422),
        ({"Origin": "http://localhost", "Host": "localhost"}, 422),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1", "Host": "localhost:2"}, 403),
    ],
)
def test_only_this_servers_pages_may_cause_something(served, headers, status) -> None:
    """A POST of another site's page is refused; one of no page, as curl sends it, is read (and is no photo here)."""
    assert served.ask("POST", "/predict", b"no photo", **headers).status == status


@pytest.mark.parametrize(("mode", "status"), [("navigate", 200), ("no-cors", 403), ("cors", 403)])
def test_another_site_may_link_here_and_no_more(served, mode, status) -> None:
    """A link leads to a page; a picture or script of another site's page gets nothing."""
    assert served.ask("GET", "/runs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode).status == status


def test_every_answer_forbids_foreign_content(served) -> None:
    """Pages, answers and refusals carry the policy, without inline scripts or styles."""
    for answer in (served.ask("GET", "/v2"), served.ask("GET", "/nothing"), served.ask("GET", "/v2", Host="evil")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_long_body_is_refused_also_in_chunks(trained) -> None:
    """Told by its length or found while it is read."""
    with serving(trained.folder.parent, access=Access(max_body_bytes=1000)) as served:
        assert served.ask("POST", "/predict", b"a" * 1001).status == 413
        assert served.ask("POST", "/predict", iter([b"a" * 600, b"b" * 600])).status == 413
        assert served.ask("POST", "/predict", iter([b"a" * 600, b"b" * 400])).status == 422


def test_a_body_that_comes_too_slowly_gives_its_place_back(trained, monkeypatch) -> None:
    """Whoever holds a place without sending is answered 408, and the connection is closed."""
    monkeypatch.setattr(body, "SECONDS", 0.2)
    with (
        serving(trained.folder.parent) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=20) as slow,
    ):
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1234")
        with slow.makefile("rb") as answer:
            told = answer.read()  # to its end: the connection is closed
    assert told.startswith(b"HTTP/1.1 408")
    assert b"did not arrive" in told


def test_beyond_loopback_a_token_is_demanded(trained) -> None:
    """In a header, or in the cookie given for it; without it a page leads to where it is sent, and programs get 401."""
    with serving(trained.folder.parent, access=Access("secret", beyond_loopback=True)) as served:
        assert served.ask("GET", "/v2", Host="192.168.1.5").status == 401
        assert served.ask("GET", "/v2", X_Imgreg_Token="wrong").status == 401
        assert served.ask("GET", "/v2", X_Imgreg_Token="secret").status == 200
        assert served.ask("GET", "/v2", Host="evil.example", X_Imgreg_Token="secret").status == 400
        assert served.ask("GET", "/v2", Cookie="imgreg_token=secret").status == 200
        page = served.ask("GET", "/", Accept="text/html")
        assert (page.status, page.headers["location"]) == (303, "/sign-in")

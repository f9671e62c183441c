"""Who may ask: checked before every request, whatever page or interface it is for.

A page of another site, open in the same browser, must neither read an answer nor cause anything, also where its name
was made to lead here (DNS rebinding). In: an ASGI app. Out: the same app, guarded; and how a browser gets the token's
cookie. Must not know: what is served.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgreg.serve.pages import error_response, page

TOKEN_HEADER = "X-Imgreg-Token"
COOKIE = "imgreg_token"
SIGN_IN = "/sign-in"
_OPEN = ("/static/", SIGN_IN)  # what a browser without the token needs to send it
_SAFE = ("GET", "HEAD", "OPTIONS")
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Which requests get through.

    Attributes
    ----------
    token : str or None
        Demanded in the header X-Imgreg-Token, or in the cookie that a browser gets for it.
    beyond_loopback : bool
        Also answer requests for this machine's name and for any IP address.
    max_body_bytes : int
        Largest request; a longer one is answered by 413, also if it does not tell its length.
    """

    token: str | None = None
    beyond_loopback: bool = False
    max_body_bytes: int = 64 * 2**20


LOCAL = Access()


class Guard:
    """An app behind the checks of host, origin, token and length."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = _with_headers(send)
        refused = self._refused(Request(scope))
        if refused is not None:
            await refused(scope, receive, guarded)
        else:
            await self._app(scope, self._counted(receive), guarded)

    def _refused(self, request: Request) -> Response | None:
        """The answer to a request that does not get through."""
        headers, refuse = request.headers, partial(error_response, request)
        if not self._known_host(headers.get("host", "")):
            host = headers.get("host", "")
            return refuse(f"Host {host!r} is no address of this server. Open the one that `imgreg serve` printed.", 400)
        if not _same_origin(headers) and not (request.method in _SAFE and _is_visit(headers)):
            return refuse("A page of another site asked for this. Only pages of this server may.", 403)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._access.max_body_bytes:
            return refuse(self._too_large, 413, {"Connection": "close"})
        if self._access.token is None or request.url.path.startswith(_OPEN) or self._has_token(request):
            return None
        if request.method == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse(SIGN_IN, status_code=303)
        return refuse(f"Send the token that `imgreg serve` printed, in the header {TOKEN_HEADER}.", 401)

    def _known_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name == "localhost" or name.startswith("127.") or name == "::1":
            return name == "localhost" or _is_address(name)
        own_names = (socket.gethostname().lower(), socket.getfqdn().lower())
        return self._access.beyond_loopback and (_is_address(name) or name in own_names)

    def _has_token(self, request: Request) -> bool:
        given = request.headers.get(TOKEN_HEADER) or request.cookies.get(COOKIE) or ""
        token = self._access.token
        return token is not None and hmac.compare_digest(given.encode(), token.encode())

    @property
    def _too_large(self) -> str:
        return f"The request is larger than {self._access.max_body_bytes / 1e6:.0f} MB."

    def _counted(self, receive: Receive) -> Receive:
        n_bytes = 0

        async def counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._access.max_body_bytes:
                raise HTTPException(413, self._too_large, {"Connection": "close"})
            return message

        return counted


def sign_in_route(token: str | None) -> Route:
    """The page that takes the token, and gives the browser a cookie for it."""

    async def sign_in(request: Request) -> Response:
        if token is None:
            return RedirectResponse("/", 303)
        if request.method == "GET":
            return page("sign_in.html.j2", at="")
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), token.encode()):
            return JSONResponse({"error": "This is not the token that imgreg serve printed."}, 401)
        response = Response(status_code=204)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response

    return Route(SIGN_IN, sign_in, methods=["GET", "POST"])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers) -> bool:
    """Whether the request comes from a page of this server, or from no page: curl sends neither header."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or origin in (f"http://{headers['host']}", f"https://{headers['host']}")


def _is_visit(headers: Headers) -> bool:
    """Whether a person follows a link here, rather than a page asking by itself; old browsers do not tell."""
    return headers.get("sec-fetch-mode", "navigate") == "navigate"


def _with_headers(send: Send) -> Send:
    """Every answer gets the headers that it does not have."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded

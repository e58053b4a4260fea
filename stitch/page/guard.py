"""What stands before every answer of the page: headers that keep browsers and search engines at bay, limits a visitor.

Visitors are told apart by their network address, of which a salted hash is held in memory and nothing is written down.
"""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import gradio as gr

from stitch.core.words import spoken
from stitch.service.sessions import Limits

Scope = MutableMapping[str, Any]
Messages = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# gradio draws with styles and programs that stand in the page itself, and builds functions from text for HTML parts.
_POLICY = "; ".join((
    "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:", "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:", "media-src 'self' data: blob:", "font-src 'self' data:",
    "connect-src 'self' data: blob:", "worker-src 'self' blob:", "object-src 'none'", "base-uri 'self'",
    "form-action 'self'", "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
))
HEADERS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Robots-Tag": "noindex, nofollow",
    "Content-Security-Policy": _POLICY, "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), payment=(), usb=()",
}
ROBOTS = "User-agent: *\nDisallow: /\n"
_MOST_VISITORS = 10_000
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")


class Rate:
    """So many events of one visitor in a span of time.

    Args:
        most: events; 0 sets no limit.
        span_s: in which they are counted.
        clock: seconds that never go back.
    """

    def __init__(self, most: int, span_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._span_s, self._clock = most, span_s, clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, visitor: str) -> float:
        """Count an event, unless there were too many: then seconds until the next may come, else 0."""
        if not self._most:
            return 0.0
        now = self._clock()
        with self._lock:
            times = self._seen.setdefault(visitor, deque())
            self._seen.move_to_end(visitor)
            while len(self._seen) > _MOST_VISITORS:
                self._seen.popitem(last=False)
            while times and now - times[0] >= self._span_s:
                times.popleft()
            if len(times) >= self._most:
                return self._span_s - (now - times[0])
            times.append(now)
        return 0.0


class Guard:
    """Middleware of the served page (ASGI).

    Args:
        app: what answers.
        limits: of every visitor.
    """

    def __init__(self, app: Callable[[Scope, Messages, Send], Awaitable[None]], limits: Limits) -> None:
        self._app, self._salt = app, secrets.token_bytes(16)
        self._behind_proxy = limits.behind_proxy
        self._uploads = Rate(limits.uploads_an_hour, 3600.0)
        self._requests = Rate(limits.requests_a_minute, 60.0)

    async def __call__(self, scope: Scope, receive: Messages, send: Send) -> None:
        """Answer a request, or refuse it in a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
                message = {**message, "headers": [*kept, *own.items()]}
            await send(message)

        if scope["path"] == "/robots.txt":
            await _said(guarded, 200, ROBOTS)
        elif scope["method"] == "POST" and (left_s := self._wait_s(scope)):
            await _said(guarded, 429, f"You have asked for much in a short time: go on in {spoken(left_s)}.")
        else:
            await self._app(scope, receive, guarded)

    def _wait_s(self, scope: Scope) -> float:
        address = scope["client"][0] if scope.get("client") else ""
        if self._behind_proxy:  # which names its own visitor last, after whatever that one claims
            address = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1").split(",")[-1] or address
        visitor = hashlib.sha256(self._salt + address.encode()).hexdigest()
        rate = self._uploads if scope["path"].endswith("/upload") else self._requests
        return rate.wait_s(visitor)


async def _said(send: Send, status: int, words: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [_PLAIN]})
    await send({"type": "http.response.body", "body": words.encode()})


def no_links(component: gr.components.Component) -> None:
    """Let a component take files that were uploaded and no addresses, which gradio would fetch for whoever names them.

    Args:
        component: one that takes files.
    """
    move = component.async_move_resource_to_block_cache

    async def moved(place: Any) -> Any:
        if "://" in str(place):
            raise gr.Error("links are not fetched here; upload the clip itself", print_exception=False)
        return await move(place)

    component.async_move_resource_to_block_cache = moved  # type: ignore[assignment, method-assign]

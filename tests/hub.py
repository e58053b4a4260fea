"""A server on this machine that answers as the Hugging Face Hub and its storage do, with faults on demand."""

import hashlib
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Handler", bytes], bool]
"""Answers instead of the server, or changes how it answers; false: go on as usual."""


class Hub:
    """Files by path, what was asked for, and faults that are used up one a request.

    Attributes:
        requests: (method, path, headers) in order.
        faults: path -> what happens to the next GETs of that path.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        self.linked: dict[str, tuple[str, int, str]] = {}
        self.closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def put(self, repo: str, path: str, content: bytes, kind: str = "", revision: str = "main") -> str:
        """A large file of a repository: the Hub points to its storage, which is another host. Returns that path."""
        stored = f"/storage/{hashlib.sha256(content).hexdigest()}/{repo}"
        self.files[stored] = content
        place = f"/{kind}{repo}/resolve/{revision}/{path}"
        self.linked[place] = (stored, len(content), hashlib.sha256(content).hexdigest())
        return stored

    def put_plain(self, path: str, content: bytes) -> str:
        """A file without a repository; returns its address."""
        self.files[path] = content
        return self.url + path

    def gets(self, path: str) -> list[dict[str, str]]:
        """Headers of every GET of a path, lower case."""
        return [headers for method, asked, headers in self.requests if (method, asked) == ("GET", path)]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        hub.requests.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        if self.path in hub.answers:
            status, headers = hub.answers[self.path]
            self.reply(status, headers)
        elif self.path in hub.linked:
            stored, size, digest = hub.linked[self.path]
            self.reply(302, {
                "Location": f"http://localhost:{hub.port}{stored}", "X-Repo-Commit": "c" * 40, "ETag": '"pointer"',
                "X-Linked-Size": str(size), "X-Linked-Etag": f'"{digest}"',
            })
        elif self.path in hub.files:
            content = hub.files[self.path]
            if with_body and hub.faults[self.path] and hub.faults[self.path].pop(0)(self, content):
                return
            self.send(content, with_body)
        else:
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "c" * 40})

    def reply(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send(self, content: bytes, with_body: bool = True, ranges: bool = True, stop_after: int | None = None) -> None:
        """The content, or the range that was asked for; `stop_after` bytes of it the connection is cut."""
        start, status, headers = 0, 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        asked = self.headers.get("Range")
        if asked and ranges:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                self.reply(416, {"Content-Range": f"bytes */{len(content)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content) - start)}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content[start:] if stop_after is None else content[start : start + stop_after])
            if stop_after is not None:
                self.cut()

    def cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def cut_after(count: int) -> Fault:
    """The connection ends after so many bytes."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.send(content, stop_after=count)
        return True

    return fault


def status(code: int, **headers: str) -> Fault:
    """Nothing but a status."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.reply(code, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def hang(after: int = 0) -> Fault:
    """Some bytes, then silence until the server is closed."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        handler.server.hub.closed.wait(600)  # type: ignore[attr-defined]
        handler.close_connection = True
        return True

    return fault


def without_ranges(handler: Handler, content: bytes) -> bool:
    """The whole file whatever was asked."""
    handler.send(content, ranges=False)
    return True


def instead(other: bytes) -> Fault:
    """Another body under the same name."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.send(other)
        return True

    return fault


def slowly(seconds: float) -> Fault:
    """The right answer, later."""

    def fault(handler: Handler, content: bytes) -> bool:
        time.sleep(seconds)
        return False

    return fault

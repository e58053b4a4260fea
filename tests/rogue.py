"""Work that does what it must not, for the tests of confined processes."""

import os
import socket
from typing import Any

from stitch.runtime import confined
from stitch.runtime.confined import Channel


def work(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    """Misbehave as asked, and say how it went (a `confined.Work`)."""
    what = request["do"]
    if what == "echo":
        channel.send(request, blob)
    elif what == "allocate":
        held = [bytearray(1 << 28) for _ in range(1 << 10)]
        channel.send({"held": len(held)})
    elif what == "spin":
        confined.give_time(0.2)
        while True:
            pass
    elif what == "crash":
        os.abort()
    elif what == "babble":
        channel._writing.write(b"\xff" * 64)
        channel._writing.flush()
    else:
        try:
            _DEEDS[what](request)
            channel.send({"refused": False})
        except OSError:
            channel.send({"refused": True})


def crash(request: Any, blob: bytes, channel: Channel, memory: int) -> None:
    """Break down whatever is asked (a `confined.Work`)."""
    os.abort()


def _write(request: Any) -> None:
    with open(request["path"], "wb") as file:
        file.write(b"x" * 10)


def _open_many(request: Any) -> None:
    for _ in range(100):
        os.open(request["path"], os.O_RDONLY)


def _connect(request: Any) -> None:
    socket.create_connection(("127.0.0.1", request["port"]), timeout=5).close()


_DEEDS = {"write": _write, "open many": _open_many, "connect": _connect}

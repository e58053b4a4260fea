"""Work on files that nobody vouches for, done in processes with little memory, little time and nothing to write to.

On Linux one small server holds the modules that the work needs and forks two processes for a job: a worker, and a
monitor that says how the worker ended. Elsewhere a process is started for each job. A worker may write no file, hold
few open, use so much memory and processor time, and on Linux it has no network where the kernel lets anybody give that
up. Where Python has no module `resource` (Windows) it is a process of its own and nothing more. This contains accidents
and most attacks; it is no virtual machine: whoever takes a worker over may still read the user's files.
"""

import ctypes
import json
import os
import signal
import socket
import struct
import subprocess  # nosec B404  # this Python itself, without a shell
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, BinaryIO

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FORKS = sys.platform == "linux"
MEMORY_BYTES = 4 << 30
MEMORY_OF_A_THREAD_BYTES = 128 << 20
OPEN_FILES = 32
_LONGEST_MESSAGE = 1 << 28
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TZ")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from stitch.runtime.confined import main; "
    "main(sys.argv[2], sys.argv[3])"
)


class Ended(Exception):
    """A worker ended before it had said what was asked; its text says how, where that is known."""


class Channel:
    """Messages between a job and who asked for it: plain values and bytes. What arrives is never unpickled."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self._reading, self._writing, self._process = reading, writing, process

    def send(self, plain: Any, blob: bytes = b"") -> None:
        """Say something.

        Args:
            plain: what JSON can hold.
            blob: bytes that go with it.
        Raises:
            Ended: nobody listens any more.
        """
        head = json.dumps(plain).encode()
        try:
            self._writing.write(struct.pack("<IQ", len(head), len(blob)) + head + blob)
            self._writing.flush()
        except OSError as error:
            raise Ended("") from error

    def receive(self) -> tuple[Any, bytes]:
        """The next message: plain values, and the bytes that go with them.

        Raises:
            Ended: there is none, or it is none.
        """
        head, blob = struct.unpack("<IQ", self._read(12))
        if max(head, blob) > _LONGEST_MESSAGE:
            raise Ended("said more than it was asked for")
        try:
            return json.loads(self._read(head)), self._read(blob)
        except ValueError as error:
            raise Ended("said what cannot be understood") from error

    def close(self) -> None:
        """Ask for nothing more: a worker that still speaks ends."""
        for end in (self._reading, self._writing):
            with suppress(OSError):
                end.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _read(self, count: int) -> bytes:
        try:
            read = self._reading.read(count)
        except OSError as error:
            raise Ended("") from error
        if len(read) < count:
            raise Ended("")
        return read


Work = Callable[[Any, bytes, Channel, int], None]
"""What does jobs: takes a request, the bytes with it, the way back, and a descriptor of shared memory or -1."""


def begin(work: str, request: Any, blob: bytes = b"", memory: int = -1) -> Channel:
    """Have something done in a process of its own.

    Args:
        work: "module:name" of a `Work`.
        request: plain values for it.
        blob: bytes for it.
        memory: descriptor of memory to share with it; only where `FORKS`.
    Returns:
        The way to what it says; the caller closes it.
    Raises:
        Ended: no process can be started.
    """
    channel = _of_server(work, memory) if FORKS else _of_process(work)
    try:
        channel.send(request, blob)
    except BaseException:
        channel.close()
        raise
    return channel


def give_time(seconds: float) -> None:
    """From now on a worker may use so many seconds of processor time before it is ended."""
    if resource is not None:
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 1, hard))


def main(work: str, control: str) -> None:
    """What a started process does: one job, or those of a server until who started it is gone.

    Args:
        work: "module:name".
        control: descriptor of the server's socket; empty is one job over the standard streams.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked is stopped and closes the channel
    sys.dont_write_bytecode = True
    if control:
        _without_network()
    module, _, name = work.partition(":")
    function: Work = getattr(import_module(module), name)
    if control:
        _serve(socket.socket(fileno=int(control)), function)
    else:
        _do(function, Channel(sys.stdin.buffer, sys.stdout.buffer), -1)


def _started(work: str, control: str, **how: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-I", "-c", _START, json.dumps(sys.path), work, control]
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # a fork copies none
    try:
        return subprocess.Popen(command, env=kept | threads, stderr=subprocess.DEVNULL, **how)  # nosec B603  # as above
    except OSError as error:
        raise Ended(f"could not be started ({error.strerror})") from error


def _of_process(work: str) -> Channel:
    process = _started(work, "", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return Channel(process.stdout, process.stdin, process)  # type: ignore[arg-type]


def _of_server(work: str, memory: int) -> Channel:
    ours, theirs = socket.socketpair()
    with theirs:
        passed = [theirs.fileno()] + ([memory] if memory >= 0 else [])
        try:
            socket.send_fds(_server(work), [b"j"], passed)
        except OSError:  # it was ended by somebody: another one takes its place
            _server.cache_clear()
            socket.send_fds(_server(work), [b"j"], passed)
    stream = ours.makefile("rwb")
    ours.close()
    return Channel(stream, stream)  # type: ignore[arg-type]


@lru_cache(maxsize=4)
def _server(work: str) -> socket.socket:
    """The way to the server of one kind of work; forks of this process share it. It ends when all have gone."""
    ours, theirs = socket.socketpair()
    with theirs:
        _started(work, str(theirs.fileno()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                 pass_fds=[theirs.fileno()], start_new_session=True)
    return ours


def _serve(server: socket.socket, function: Work) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for monitors
    while True:
        _, passed, _, _ = socket.recv_fds(server, 1, 2)
        if not passed:
            return
        if os.fork() == 0:
            server.close()
            _watch(function, passed)
        for descriptor in passed:
            os.close(descriptor)


def _watch(function: Work, passed: list[int]) -> None:
    """Have a job done by a child and say how that ended; does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    stream = socket.socket(fileno=passed[0]).makefile("rwb")
    channel = Channel(stream, stream)  # type: ignore[arg-type]
    worker = os.fork()
    if worker == 0:
        with suppress(BaseException):
            _do(function, channel, passed[1] if len(passed) > 1 else -1)
            os._exit(0)
        os._exit(1)
    status = os.waitpid(worker, 0)[1]
    if status:
        died: dict[int, str] = {
            signal.SIGXCPU: "took more time than any clip should", signal.SIGKILL: "was ended by the system",
        }
        with suppress(Ended):
            channel.send({"died": died.get(os.WTERMSIG(status), "broke down")})
    os._exit(0)


def _do(function: Work, channel: Channel, memory: int) -> None:
    request, blob = channel.receive()
    _limit()
    try:
        function(request, blob, channel, memory)
    except MemoryError:
        channel.send({"died": "asked for more memory than any clip should"})
    except Ended:
        pass


def _limit() -> None:
    if resource is None:
        return
    memory = MEMORY_BYTES + (os.cpu_count() or 1) * MEMORY_OF_A_THREAD_BYTES
    with suppress(OSError):
        with open("/proc/self/statm") as file:
            memory += int(file.read().split()[0]) * resource.getpagesize()
    for kind, most in (("AS", memory), ("FSIZE", 0), ("NOFILE", OPEN_FILES), ("CORE", 0)):
        with suppress(OSError, ValueError):  # macOS has no limit of memory, and nobody may raise a hard one
            resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))


def _without_network() -> None:
    """Give the network up, where the kernel allows it; the superuser keeps the right to read others' files."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.unshare(_CLONE_NEWNET | (0 if os.geteuid() == 0 else _CLONE_NEWUSER))

"""A confined worker reaches its limits and dies alone: who asked is told, and asks the next thing."""

import os
import signal
import socket
import sys
from contextlib import closing
from typing import Any

import pytest

from stitch.runtime import confined
from stitch.runtime.confined import Ended, begin

ROGUE = "tests.rogue:work"
linux = pytest.mark.skipif(sys.platform != "linux", reason="these limits are Linux's")


@pytest.fixture(params=["forked", "started"], autouse=True)
def how(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to a process, on systems that have both."""
    if request.param == "forked" and not confined.FORKS:
        pytest.skip("only Linux forks")
    monkeypatch.setattr(confined, "FORKS", request.param == "forked")
    return request.param


def ask(do: str, **given: Any) -> tuple[Any, bytes]:
    with closing(begin(ROGUE, {"do": do, **given}, b"\0bytes")) as channel:
        return channel.receive()


def test_begin_brings_plain_values_and_bytes_there_and_back() -> None:
    assert ask("echo", name="\udcff") == ({"do": "echo", "name": "\udcff"}, b"\0bytes")


@linux
@pytest.mark.parametrize(("do", "words"), [("spin", "more time"), ("crash", "broke down"), ("allocate", "more memory")])
def test_worker_that_goes_too_far_dies_alone(how: str, do: str, words: str) -> None:
    try:
        said = ask(do)[0]["died"]
    except Ended:  # no monitor stands beside a process that was started
        said = words if how == "started" else ""
    assert words in said
    assert ask("echo")[1] == b"\0bytes"


@linux
def test_worker_writes_no_file_and_opens_few(tmp_path) -> None:
    assert ask("write", path=str(tmp_path / "a"))[0]["refused"]
    assert ask("open many", path="/dev/null")[0]["refused"]
    assert not (tmp_path / "a").exists() or (tmp_path / "a").stat().st_size == 0


def test_worker_that_may_not_reach_the_network_says_so(how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = ask("connect", port=server.getsockname()[1])[0]["refused"]
    if how == "started" or (not refused and not _may_leave_networks()):
        pytest.skip("this system lets no process give its network up")
    assert refused


def test_receive_refuses_what_is_no_message() -> None:
    with pytest.raises(Ended):
        ask("babble")


def test_begin_starts_another_server_where_one_was_killed(how: str) -> None:
    if how == "started":
        pytest.skip("there is no server")
    ask("echo")
    confined._server(ROGUE).shutdown(socket.SHUT_RDWR)  # it ends, as if it were killed
    assert ask("echo")[0]["do"] == "echo"


def _may_leave_networks() -> bool:
    child = os.fork()
    if child == 0:
        try:
            flags = 0x40000000 | (0 if os.geteuid() == 0 else 0x10000000)
            os._exit(0 if confined.ctypes.CDLL(None).unshare(flags) == 0 else 1)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

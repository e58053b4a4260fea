"""What the C library does with large arrays, which a program can be told only as it starts."""

import os
import sys
from contextlib import suppress

_NAME = "GLIBC_TUNABLES"
_LARGE = ("glibc.malloc.hugetlb=1",)
_KEPT = ("glibc.malloc.mmap_threshold=1073741824", "glibc.malloc.trim_threshold=1073741824")


def restart(keep: bool = False) -> None:
    """Starts this program anew, in the same process, with glibc's settings for arrays of many MB; once.

    Arrays then lie in pages of 2 MiB where the system has them for programs that ask ("madvise"): with pages of 4 KiB a
    pass through features of 16 MB is mostly looking up where they are (measured on two cores of a virtual machine: a
    step of the generator both ways 380 ms without, 308 ms with). To be called before anything large is loaded, by what
    is started as a program; programs that it starts do not inherit the settings. Where the C library is another, or
    was told something by the user, nothing changes.

    Args:
        keep: what is freed stays with the process too, for one that does a single job and ends. A tuning loop asks for
            the same arrays at every step, and pages that come from the system must be cleared each time.
    """
    if not sys.platform.startswith("linux") or not sys.executable:
        return
    told, asked = os.environ.get(_NAME, ""), ":".join(_LARGE + _KEPT * keep)
    if not told:
        with suppress(OSError):
            command = [sys.executable, *sys.orig_argv[1:]]
            os.execve(sys.executable, command, os.environ | {_NAME: asked})  # nosec B606  # itself, as it was called
    elif told == asked:
        del os.environ[_NAME]

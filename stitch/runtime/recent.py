"""What was made last, for whoever asks for the same again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The few newest results of something slow; safe to use from several threads.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._made: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for a key, or is made now; `make` may run twice when two threads ask at once.

        Args:
            key: covers all that the result depends on.
            make: called without arguments; its errors go through and nothing is kept.
        """
        found = self.known(key)
        if found is None:
            found = make()
            with self._lock:
                self._made[key] = found
                while len(self._made) > self._size:
                    self._made.popitem(last=False)
        return found

    def known(self, key: Hashable) -> T | None:
        """What was made for a key, if it is still here."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
            return self._made.get(key)

    def forget(self, unwanted: Callable[[Hashable], bool]) -> None:
        """Drop the results of some keys."""
        with self._lock:
            for key in [key for key in self._made if unwanted(key)]:
                del self._made[key]

import threading
from collections.abc import Callable
from typing import Any


class SharedSetting:
    """A setting of the process that several threads may need at once.

    It has the value while any of them is within the context, and after the
    last the one that it had before the first.

    Args:
        read: function that returns the present value.
        write: function that sets one.
        value: what the setting is within the context.
    """

    def __init__(
        self, read: Callable[[], Any], write: Callable[[Any], None], value: Any
    ):
        self._read = read
        self._write = write
        self._value = value
        self._lock = threading.Lock()
        self._inside = 0
        self._before = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._read()
                self._write(self._value)
            self._inside += 1

    def __exit__(self, *exception) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._write(self._before)

"""A C object that several Python threads use: it is not destroyed under their hands."""

import contextlib
import threading

from ._library import Error, Status


class Handle:
    def __init__(self, what, value, destroy):
        self._what = what  # for messages
        self._value = value
        self._destroy = destroy
        self._changed = threading.Condition()  # guards all below
        self._users = 0
        self._closing = False
        self.destroyed = False

    @contextlib.contextmanager
    def borrow(self):
        """The C handle, for as long as the block runs; None once close() was called."""
        with self._changed:
            value = None if self._closing else self._value
            self._users += value is not None
        try:
            yield value
        finally:
            if value is not None:
                with self._changed:
                    self._users -= 1
                    self._changed.notify_all()

    @contextlib.contextmanager
    def use(self):
        """As borrow(), but a closed one is an Error."""
        with self.borrow() as value:
            if value is None:
                raise Error(Status.INVALID_ARGUMENT, f"the {self._what} is closed")
            yield value

    def close(self):
        """Waits for those who borrowed it, and destroys it; once."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            while self._users > 0:
                self._changed.wait()
        self._destroy(self._value)
        self.destroyed = True

    def __del__(self):
        if not self._closing:
            self._closing = True
            self._destroy(self._value)

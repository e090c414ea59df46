"""Tickets as futures: one helper thread polls them; Ferry's own threads never run Python."""

import concurrent.futures
import os
import threading
import time

from ._library import Error, Status, last_error, lib, nanoseconds


class Ticket(concurrent.futures.Future):
    """An operation in flight: a concurrent.futures.Future whose result is None.

    Host memory that the operation uses is held until it is done, also if nobody keeps the ticket.
    It cannot be cancelled. ``await ticket`` waits in asyncio.
    """

    def __init__(self, device, number, pins):
        super().__init__()
        self.device = device
        self.number = number
        self._pins = pins
        self._settling = threading.Lock()
        self.set_running_or_notify_cancel()
        if not self._poll():
            _poller.add(self)

    def __await__(self):
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def result(self, timeout=None):
        """Waits until the operation is done; raises its Error, or TimeoutError."""
        return super().result(self._wait(timeout))

    def exception(self, timeout=None):
        """Waits until the operation is done; its Error, or None. May raise TimeoutError."""
        return super().exception(self._wait(timeout))

    def _wait(self, timeout):
        """Waits in the C library, so that nobody waits for the helper thread's next look. Returns
        what is left of timeout."""
        if self.done():
            return timeout
        with self.device._handle.borrow() as handle:
            if handle is None:  # it is being closed; the helper thread sees the end of that
                return timeout
            status = lib.ferry_wait(handle, self.number, nanoseconds(timeout))
            why = last_error()
        if status == Status.TIMEOUT:
            return 0
        self._settle(status, why)
        return timeout

    def _poll(self):
        """Settles the ticket if it can be; whether it is."""
        with self.device._handle.borrow() as handle:
            if handle is not None:
                status = lib.ferry_poll(handle, self.number)
                why = last_error()
            elif self.device._handle.destroyed:
                status, why = Status.DEVICE_LOST, "the device was closed meanwhile"
            else:
                status, why = Status.PENDING, ""
        if status != Status.PENDING:
            self._settle(status, why)
        return self.done()

    def _settle(self, status, why):
        """Runs the user's functions, so nothing is borrowed here."""
        with self._settling:
            if self._pins is None:
                return
            pins, self._pins = self._pins, None
        for pin in pins:
            pin.release()
        if status == Status.OK:
            self.set_result(None)
        else:
            self.set_exception(Error(status, why))


class _Poller:
    """Settles tickets that nobody waits for."""

    SHORTEST, LONGEST = 50e-6, 1e-3  # seconds between two looks

    def __init__(self):
        self.changed = threading.Condition()  # guards both below
        self.tickets = []
        self.running = False

    def add(self, ticket):
        with self.changed:
            self.tickets.append(ticket)
            if not self.running:
                self.running = True
                threading.Thread(target=self._run, name="ferry-tickets", daemon=True).start()
            self.changed.notify()

    def drain(self, device):
        """Waits for all tickets of a device."""
        with self.changed:
            tickets = [ticket for ticket in self.tickets if ticket.device is device]
        for ticket in tickets:
            ticket._wait(None)

    def _run(self):
        pause = self.SHORTEST
        while True:
            with self.changed:
                self.tickets = [ticket for ticket in self.tickets if not ticket.done()]
                while not self.tickets:
                    self.changed.wait()
                    pause = self.SHORTEST
                tickets = list(self.tickets)
            if any([ticket._poll() for ticket in tickets]):
                pause = self.SHORTEST
            else:
                pause = min(pause * 2, self.LONGEST)
            del tickets
            time.sleep(pause)


_poller = _Poller()


def _after_fork():
    global _poller
    _poller = _Poller()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def drain(device):
    _poller.drain(device)

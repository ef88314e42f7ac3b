"""Wakes the process that waits for its turn: by a datagram to a socket that it has bound for as long as it waits.

The socket's name is abstract (unix(7)): no file is left behind, and nothing lies beside the database for a backup to
trip over. Anybody on the machine could ring or take the name; then whoever waits looks once too often, or polls.
"""

import asyncio
import contextlib
import os
import socket

_WITH_BELL, _WITHOUT = 0.005, 0.001  # seconds between two looks; a writer that was killed rings no bell


class Bell:
    """One for each process; those with the same file hear each other."""

    def __init__(self, file: int) -> None:
        """`file` is a descriptor of the file that they share."""
        seen = os.fstat(file)
        self._address = f"\0mimir-turn-{seen.st_dev:x}-{seen.st_ino:x}"
        self._voice = _datagrams()
        self._ear: socket.socket | None = None

    def close(self) -> None:
        """Close the sockets."""
        self._voice.close()
        self.ignore()

    def ring(self) -> None:
        """Wake whoever listens; from any thread."""
        with contextlib.suppress(OSError):  # nobody does
            self._voice.sendto(b"\0", self._address)

    def listen(self) -> None:
        """From now on no ring is missed."""
        ear = _datagrams()
        try:
            ear.bind(self._address)
        except OSError:
            ear.close()
        else:
            self._ear = ear

    def ignore(self) -> None:
        """Undo `listen`."""
        if self._ear is not None:
            self._ear.close()
            self._ear = None

    async def wait(self) -> None:
        """Until it rings, or until it is time to look without that."""
        ear = self._ear
        if ear is None:
            await asyncio.sleep(_WITHOUT)
            return
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[None] = loop.create_future()
        loop.add_reader(ear, _settle, heard)
        timer = loop.call_later(_WITH_BELL, _settle, heard)
        try:
            await heard
        finally:
            timer.cancel()
            loop.remove_reader(ear)
        with contextlib.suppress(BlockingIOError):
            ear.recv(1)


def _datagrams() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def _settle(heard: asyncio.Future[None]) -> None:
    if not heard.done():
        heard.set_result(None)

"""Password hashes: Argon2id (RFC 9106), on a few threads that yield to the event loop.

A flood of logins takes neither all memory nor all cores: two hashes of a process run at a time, on threads with a lower
priority than the loop's; some tens wait; more are refused at once.
"""

import asyncio
import base64
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from core.errors import IntegrityError, QuotaExceededError

T = TypeVar("T")

MAX_PASSWORD = 1024  # bytes of UTF-8
_NICENESS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2Parameters:
    """Cost of one hash. The default is OWASP's for Argon2id with 19 MiB.

    The hashes lie under the barrier, so what the cost must stop is guessing by somebody who has both store and HSM;
    lockouts stop guessing at the API.
    """

    time_cost: int = 2  # passes
    memory_cost: int = 19456  # KiB
    parallelism: int = 1


class HashingThreads:
    """Runs hashes; one for a process, however many mounts it has."""

    def __init__(self, *, running: int = 2, waiting: int = 64) -> None:
        self._executor = ThreadPoolExecutor(running, thread_name_prefix="argon2", initializer=_be_nice)
        self._room = threading.Semaphore(running + waiting)

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` on a thread. Raises QuotaExceededError when too many wait already."""
        if not self._room.acquire(blocking=False):
            raise QuotaExceededError("too many logins at once; try again shortly")
        try:
            call: Future[T] = self._executor.submit(work)
        except BaseException:
            self._room.release()
            raise
        call.add_done_callback(lambda _done: self._room.release())  # when the call ends, not its caller
        return await asyncio.wrap_future(call)

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(cancel_futures=True)


class Passwords:
    """Makes and checks hashes."""

    def __init__(self, threads: HashingThreads, parameters: Argon2Parameters = Argon2Parameters()) -> None:
        self._threads = threads
        self._hasher = PasswordHasher(
            time_cost=parameters.time_cost,
            memory_cost=parameters.memory_cost,
            parallelism=parameters.parallelism,
            type=Type.ID,
        )
        self._nobodys = _unmatched(parameters)

    async def hash(self, password: str) -> str:
        """The hash with salt and parameters, in the form of the PHC string format."""
        return await self._threads.run(lambda: self._hasher.hash(password))

    async def is_right(self, password: str, encoded: str | None) -> bool:
        """Whether the password has that hash. None stands for nobody's: the same work is done, and the answer is no."""
        return await self._threads.run(lambda: self._verify(password, encoded))

    def is_outdated(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(encoded)

    def _verify(self, password: str, encoded: str | None) -> bool:
        try:
            matches = self._hasher.verify(encoded or self._nobodys, password)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError) as exc:
            raise IntegrityError("a stored password hash is malformed") from exc
        return matches and encoded is not None


def _unmatched(parameters: Argon2Parameters) -> str:
    """A well-formed hash of nothing anybody knows: its verification costs what every other one costs."""
    salt, tag = (base64.b64encode(os.urandom(length)).rstrip(b"=").decode() for length in (16, 32))
    cost = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${tag}"


def _be_nice() -> None:
    """On Linux, priorities are of threads."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)

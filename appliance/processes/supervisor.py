"""The process that `mimir server` is: it prepares, spawns workers and a housekeeper, watches over them, stops them.

It opens no HSM and no database and stays small. In order: harden, check what one node owns (directories, lock,
addresses), make the shared change ring, spawn the first worker, which imports while the preparation runs in children of
its own, let it go, spawn the others, say READY when all of them serve, then the housekeeper.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec

from appliance.config import Config
from appliance.processes.channel import EX_CONFIG, EX_SOFTWARE, EX_TEMPFAIL, Report
from appliance.processes.child import Child, Spawner
from appliance.processes.hardening import forbid_memory_images, raise_file_limit
from appliance.processes.node import (
    Addresses,
    child_environment,
    forget_refused_pin,
    lock_data_directory,
    make_directories,
)
from appliance.processes.preparation import steps_for
from appliance.processes.sd_notify import ServiceManager
from core.errors import ConfigError, MimirError

_FIRST_PAUSE = 0.1  # seconds before a dead worker is started again; doubles
_LONGEST_PAUSE = 30.0
_GOOD_LIFE = 60.0  # a worker that lived this long starts over with the first pause
_START_ATTEMPTS = 3  # of a worker whose trouble may pass, before the service was ever ready
_SILENCE = 20.0  # a worker that has not said a word for so long hangs, and is killed
_LAST_WORDS = 2.0  # seconds that it has to say where
_GRACE = 5.0  # what a stopping worker gets beyond drain_timeout


class Ring(Protocol):
    """The part of `barrier.changes.ChangeRing` that the supervisor uses."""

    def publish_all(self) -> None:
        """Invalidate every cache of the node."""
        ...


def create_ring(path: Path) -> Ring:
    """The change ring of the node."""
    from barrier.changes import ChangeRing

    ring: Ring = ChangeRing.create(path)
    return ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the node is made of: functions as `module:name`, since each is looked up in the process that runs it."""

    application: str = "appliance.composition:compose"
    ring: str = "appliance.processes.supervisor:create_ring"
    steps: Callable[[Config], list[str]] = field(default=steps_for)


class StartError(Exception):
    """The service does not start, or cannot go on: sentence and exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


def run(config: Config, parts: Parts | None = None) -> int:
    """Run the node until SIGTERM or SIGINT; the exit code. What went wrong is one sentence on stderr."""
    try:
        return asyncio.run(_Supervisor(config, parts or Parts()).run())
    except MimirError as exc:
        _say(exc.sentence)
        return EX_CONFIG
    except StartError as exc:
        _say(exc.sentence)
        return exc.code


def _say(sentence: str) -> None:
    print(f"mimir: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - for the person who started us


class _Supervisor:
    def __init__(self, config: Config, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self._addresses = Addresses(config.listener)
        self._manager = ServiceManager()
        self._workers = [f"worker-{number}" for number in range(1, config.server.workers + 1)]
        self._children: dict[str, Child] = {}
        self._stop = asyncio.Event()
        self._go = asyncio.Event()
        self._news = asyncio.Event()  # a child reported
        self._was_ready = False
        self._signals = 0
        self._status = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        forbid_memory_images()
        raise_file_limit()
        make_directories(self._config)
        lock = lock_data_directory(self._config)
        try:
            forget_refused_pin(self._config)
            listeners = self._addresses.reserve()
            self._config = msgspec.structs.replace(self._config, listener=listeners)
            environment = child_environment(self._config)
            self._ring: Ring = _load(self._parts.ring)(self._config.ring_path)
            self._spawner = Spawner(self._config.encode(), environment=environment, keep_open=[lock])
            self._handle_signals()
            await self._supervise()
        finally:
            self._addresses.release()
            os.close(lock)
        return 0

    # --- start ------------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        self._begin(self._keep(self._workers[0], "worker"))
        self._begin(self._start())
        self._begin(self._announce_when_ready())
        self._begin(self._stopped())
        try:
            while not self._stop.is_set():
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self._tasks -= done
                for task in done:
                    task.result()
        finally:
            self._stop.set()
            self._manager.notify("STOPPING=1", "STATUS=stopping")
            await self._end_children()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._spawner.close()

    def _begin(self, step: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(step))

    async def _stopped(self) -> None:
        await self._stop.wait()

    async def _start(self) -> None:
        """Prepare and let the first worker go; the others import their code only now, so as not to take its cores."""
        await self._prepare()
        await self._keep_token_whole()
        self._go.set()
        for child in list(self._children.values()):
            child.go()
        for name in self._workers[1:]:
            self._begin(self._keep(name, "worker"))

    async def _announce_when_ready(self) -> None:
        """Say so when every worker serves, and begin what can wait until then."""
        while not self._all_ready():
            self._news.clear()
            await self._news.wait()
        self._was_ready = True
        self._announce()
        self._begin(self._keep("housekeeper", "housekeeper"))
        self._begin(self._watch())

    async def _prepare(self) -> None:
        steps = [
            self._spawner.spawn(step.rpartition(":")[2], "appliance.processes.preparation", step)
            for step in self._parts.steps(self._config)
        ]
        self._children.update((step.name, step) for step in steps)
        codes = await asyncio.gather(*(step.exited for step in steps))
        for step, code in zip(steps, codes, strict=True):
            del self._children[step.name]
            if code != 0 and not self._stop.is_set():
                report = step.failure or Report(kind="failed", text=f"{step.name} ended with {code}", code=EX_SOFTWARE)
                raise StartError(report.text, report.code)

    def _all_ready(self) -> bool:
        return all(name in self._children and self._children[name].ready.is_set() for name in self._workers)

    def _announce(self) -> None:
        self._manager.notify("READY=1", f"STATUS={self._describe()}")
        if self._config.server.log_format == "text":
            _say("ready on " + ", ".join(listener.url for listener in self._config.listener))

    # --- watching ---------------------------------------------------------------------------------------------------

    async def _keep(self, name: str, role: str) -> None:
        """Have this child running until the service stops."""
        pause, attempts = _FIRST_PAUSE, 0
        while not self._stop.is_set():
            child = self._spawn(name, role)
            code = await child.exited
            lived = asyncio.get_running_loop().time() - child.started_at
            if self._stop.is_set():
                return
            attempts += 1
            self._check_start(child, code, attempts)
            self._ring.publish_all()
            self._log_death(child, code)
            pause = _FIRST_PAUSE if lived > _GOOD_LIFE else pause
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            with contextlib.suppress(ConfigError):  # the child will say what is wrong with its token
                await self._keep_token_whole()

    async def _keep_token_whole(self) -> None:
        """A child that was killed while it logged in may have torn SoftHSM's token file; the next one needs it."""
        directory = self._config.hsm.softhsm_token_dir
        if directory:
            from softhsm.token_backup import keep_tokens_whole

            await asyncio.to_thread(keep_tokens_whole, Path(directory))

    def _spawn(self, name: str, role: str) -> Child:
        inherited = self._addresses.inherited() if role == "worker" else {}
        arguments = [role, "--name", name, "--factory", self._parts.application]
        for position, descriptor in inherited.items():
            arguments += ["--inherited", f"{position}={descriptor}"]
        child = self._spawner.spawn(
            name, "appliance.processes.spawned", *arguments, descriptors=list(inherited.values())
        )
        child.on_beat = self._update_status
        self._children[name] = child
        if self._go.is_set():
            child.go()
        return child

    def _check_start(self, child: Child, code: int, attempts: int) -> None:
        """What does not pass by itself ends the start, unless another worker serves already."""
        if self._was_ready or any(other.ready.is_set() for other in self._children.values() if other is not child):
            return
        report = child.failure or Report(kind="failed", text=f"{child.name} ended with {code}", code=EX_SOFTWARE)
        may_pass = child.failure is None or report.code == EX_TEMPFAIL
        if not may_pass or attempts >= _START_ATTEMPTS:
            raise StartError(report.text, report.code)

    def _log_death(self, child: Child, code: int) -> None:
        import structlog  # not needed by a service that runs well, and not small

        from appliance.logging import configure_logging

        server = self._config.server
        configure_logging(server.log_level, server.log_format, process="supervisor")
        reason = child.failure.text if child.failure else ""
        structlog.get_logger().error("process ended", name=child.name, pid=child.pid, exit_code=code, reason=reason)

    async def _watch(self) -> None:
        """Ping systemd while every worker is heard; end one that hangs."""
        loop = asyncio.get_running_loop()
        limit = self._manager.watchdog_seconds
        while not self._stop.is_set():
            await asyncio.sleep(min(limit / 3, 1.0) if limit else 1.0)
            now = loop.time()
            served = [(name, child) for name, child in self._children.items() if child.ready.is_set()]
            silences = {name: now - child.last_beat for name, child in served}
            for name, silence in silences.items():
                if silence > _SILENCE + _LAST_WORDS:
                    self._children[name].signal(signal.SIGKILL)
                elif silence > _SILENCE:
                    self._children[name].signal(signal.SIGABRT)  # faulthandler shows where it hangs
            if limit and all(silences.get(name, 0.0) < limit for name in self._workers):
                self._manager.notify("WATCHDOG=1")

    def _describe(self) -> str:
        workers = [child for name, child in self._children.items() if name.startswith("worker-")]
        ready = sum(child.ready.is_set() for child in workers)
        status = next((child.status for child in workers if child.status), "")
        counted = f"{ready} of {self._config.server.workers} workers"
        return f"{status}; {counted}" if status else counted

    def _update_status(self) -> None:
        self._news.set()
        status = self._describe()
        if self._was_ready and status != self._status:
            self._status = status
            self._manager.notify(f"STATUS={status}")

    # --- signals and stop -------------------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)

    def _on_stop(self) -> None:
        """Drain at the first signal, end everything at the second."""
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            for child in self._children.values():
                child.signal(signal.SIGKILL)

    def _on_reload(self) -> None:
        for name, child in self._children.items():
            if name.startswith("worker-") and child.ready.is_set():
                child.signal(signal.SIGHUP)

    async def _end_children(self) -> None:
        children = [child for child in self._children.values() if not child.exited.done()]
        for child in children:
            child.signal(signal.SIGTERM)
        if not children:
            return
        exits = [child.exited for child in children]
        limit = self._config.server.drain_timeout + _GRACE
        _, late = await asyncio.wait(exits, timeout=limit)
        for child in children:
            child.signal(signal.SIGKILL)
        if late:
            await asyncio.wait(late)


def _load(name: str) -> Callable[[Path], Ring]:
    module, _, attribute = name.partition(":")
    function: Callable[[Path], Ring] = getattr(import_module(module), attribute)
    return function

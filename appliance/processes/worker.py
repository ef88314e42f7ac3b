"""A child that runs the application: a worker with listeners, or the housekeeper without.

Started by the supervisor through `appliance.processes.spawned`. It imports everything while the preparation
still runs, and opens nothing before it is told to go.
"""

import argparse
import asyncio
import faulthandler
import gc
import os
import signal
import socket
from collections.abc import Awaitable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

import structlog
import uvloop

from appliance.config import Config
from appliance.http.limits import Limits
from appliance.logging import code_path, configure_logging
from appliance.processes.channel import BEAT_EVERY, EX_SOFTWARE, ChildEnd, Report, failure, read_config
from appliance.processes.hardening import die_with_parent, forbid_memory_images
from appliance.wire import Application
from core.errors import MimirError

if TYPE_CHECKING:
    from appliance.http.listeners import Listeners

log = structlog.get_logger("mimir.worker")

Role = Literal["worker", "housekeeper"]
_NICENESS = 10  # of the housekeeper: what it does (signing a CRL of 100,000 entries) takes no worker's time
_LISTENERS = "appliance.http.listeners"  # needs aiohttp, which is not small: the housekeeper does without


class Compose(Protocol):
    """Makes the application; `appliance.composition:compose`."""

    def __call__(self, config: Config, *, role: Role, ring_path: Path) -> Application:
        """Put the parts together without opening them."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit code."""
    args = _parser().parse_args(arguments)
    forbid_memory_images()
    faulthandler.enable()  # SIGABRT and faults write the functions that every thread is in to the log, and no values
    die_with_parent(args.parent)
    config = read_config(args.config_fd)
    configure_logging(config.server.log_level, config.server.log_format, process=args.name)
    channel = ChildEnd(args.channel_fd)
    compose = load_factory(args.factory)
    if args.role == "worker":
        import_module(_LISTENERS)
    gc.enable()  # `spawned` disabled it
    if not channel.wait_go():
        return 0
    inherited = dict(_inherited(item) for item in args.inherited)
    try:
        return uvloop.run(_Life(config, args.role, compose, channel, inherited).run())
    finally:
        channel.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mimir-worker")
    parser.add_argument("role", choices=["worker", "housekeeper"])
    parser.add_argument("--name", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--factory", default="appliance.composition:compose")
    parser.add_argument("--inherited", action="append", default=[], help="POSITION=FD of a bound socket")
    return parser


def _inherited(item: str) -> tuple[int, socket.socket]:
    position, _, descriptor = item.partition("=")
    os.set_inheritable(int(descriptor), False)
    return int(position), socket.socket(fileno=int(descriptor))


def load_factory(name: str) -> Compose:
    """The function behind `module:name`."""
    module, _, attribute = name.partition(":")
    return cast("Compose", getattr(import_module(module), attribute))


class _Life:
    """Start, serve, drain, stop."""

    def __init__(
        self, config: Config, role: Role, compose: Compose, channel: ChildEnd, inherited: dict[int, socket.socket]
    ) -> None:
        self._config = config
        self._role = role
        self._compose = compose
        self._channel = channel
        self._inherited = inherited
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> int:
        self._handle_signals()
        if self._role == "housekeeper":
            os.nice(_NICENESS)  # threads that are made later inherit it
        try:
            application = self._compose(self._config, role=self._role, ring_path=self._config.ring_path)
            listeners = self._listeners(application)
            if not await self._start(application):
                return 0
        except MimirError as exc:
            return self._fail(failure(exc))
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a process
            log.critical("start failed", exception=type(exc).__qualname__, where=code_path(exc))
            return self._fail(Report(kind="failed", text="internal error at start; see the log", code=EX_SOFTWARE))
        try:
            if listeners is not None:
                await listeners.start()
        except MimirError as exc:
            await application.close()
            return self._fail(failure(exc))
        _settle_memory()
        self._channel.send(Report(kind="ready", text=application.status_line()))
        await self._serve(application, listeners)
        await self._wind_down(application, listeners)
        return 0

    async def _start(self, application: Application) -> bool:
        """Whether it started, and was not told to stop meanwhile."""
        start = asyncio.ensure_future(application.start())
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([start, stop], return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            stop.cancel()
            start.result()
            return True
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await application.close()
        return False

    def _fail(self, report: Report) -> int:
        self._channel.send(report)
        return report.code

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _listeners(self, application: Application) -> "Listeners | None":
        if self._role != "worker":
            return None
        from appliance.http.listeners import Listeners

        server = self._config.server
        limits = Limits(max_body=server.max_body, request_timeout=server.request_timeout)
        return Listeners(self._config.listener, application.handle, limits=limits, inherited=self._inherited)

    async def _serve(self, application: Application, listeners: "Listeners | None") -> None:
        """Until told to stop: show that the event loop turns, and reload when asked."""
        while not self._stop.is_set():
            self._channel.send(Report(kind="beat", text=application.status_line()))
            if self._reload.is_set():
                self._reload.clear()
                if listeners is not None:
                    await listeners.reload()
            await _first(self._stop.wait(), self._reload.wait(), limit=BEAT_EVERY)

    async def _wind_down(self, application: Application, listeners: "Listeners | None") -> None:
        if listeners is not None:
            listeners.stop_accepting()
            await listeners.drain(self._config.server.drain_timeout)
        await application.drain()
        await application.close()


async def _first(*waits: Awaitable[object], limit: float) -> None:
    """Return when one of them is done, or after `limit` seconds."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _settle_memory() -> None:
    """What start-up made stays: keep the collector from walking it again and again while requests are served."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

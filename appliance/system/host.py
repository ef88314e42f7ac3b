"""`sys/host-info` and `sys/in-flight-req`: what the machine has, and what this worker does."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from appliance.system.within import check_root
from core.clock import Clock, rfc3339
from core.engine import Method, Route
from core.requests import Operation, Request, Response

_DISKS = 64
Members = dict[str, Any]


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is being served."""

    request_id: str
    method: str  # of HTTP
    path: str  # without tokens in it
    started_at: float  # epoch seconds
    client_address: str = ""
    accessor: str = ""  # of the caller's token


class HostRoutes:
    """Asked by operators; psutil is loaded when somebody does."""

    def __init__(self, clock: Clock, in_flight: Callable[[], Iterable[InFlight]]) -> None:
        self._clock = clock
        self._in_flight = in_flight

    def routes(self) -> list[Route]:
        """Below sys/."""
        host = Method(handler=self.host, mutates=False, summary="CPU, memory, disks and host.")
        flying = Method(handler=self.in_flight, mutates=False, summary="By request id.")
        return [
            Route(pattern="host-info", methods={Operation.READ: host}, help="The machine this node runs on."),
            Route(
                pattern="in-flight-req",
                methods={Operation.READ: flying},
                help="The requests that this worker is serving.",
            ),
        ]

    async def host(self, request: Request, _body: object) -> Response:
        """In a thread: a disk that hangs must not hold up others."""
        check_root(request)
        data = await asyncio.to_thread(_host)
        return Response(data={**data, "timestamp": rfc3339(self._clock.now())})

    async def in_flight(self, request: Request, _body: object) -> Response:
        """Those of the worker that answers, itself among them."""
        check_root(request)
        return Response(
            data={
                flying.request_id: {
                    "start_time": rfc3339(flying.started_at),
                    "client_remote_address": flying.client_address,
                    "request_path": flying.path,
                    "request_method": flying.method,
                    "client_id": flying.accessor,
                }
                for flying in self._in_flight()
            }
        )


def _host() -> Members:
    import psutil

    processors = psutil.cpu_count() or 1
    frequency = psutil.cpu_freq()
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "cpu": [{"cpu": number, "mhz": frequency.current if frequency else 0} for number in range(processors)],
        "cpu_times": [
            {"cpu": f"cpu{number}", **times._asdict()} for number, times in enumerate(psutil.cpu_times(percpu=True))
        ],
        "disk": _disks(),
        "host": _names(),
        "memory": {**memory._asdict(), "usedPercent": memory.percent, "swapTotal": swap.total, "swapFree": swap.free},
    }


def _disks() -> list[Members]:
    import psutil

    found: list[Members] = []
    for part in psutil.disk_partitions()[:_DISKS]:
        try:
            usage = psutil.disk_usage(part.mountpoint)
        except OSError:
            continue  # not readable for this user
        named = {"path": part.mountpoint, "device": part.device, "fstype": part.fstype}
        found.append({**named, **usage._asdict(), "usedPercent": usage.percent})
    return found


def _names() -> Members:
    import platform

    import psutil

    boot = int(psutil.boot_time())
    return {
        "hostname": platform.node(),
        "bootTime": boot,
        "uptime": max(0, int(time.time()) - boot),  # the machine's clock, as boot_time is
        "procs": len(psutil.pids()),
        "os": platform.system().lower(),
        "kernelVersion": platform.release(),
        "kernelArch": platform.machine(),
    }

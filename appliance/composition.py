"""The composition root of one process: opens the HSM and the barrier, and hangs everything else on them."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from appliance.config import Config
from appliance.dev_init import initialize_for_development
from appliance.events.retention import Retention
from appliance.housekeeping import Housekeeping
from appliance.kept_engines import KeptEngines
from appliance.logging import log_internal_error
from appliance.metrics import Gauge
from appliance.node_shared import Shared
from appliance.pipeline.assembly import BUILT_IN_TYPES, Assembled, Assembly, assemble
from appliance.pipeline.catalog import AUTH_METHODS, EngineCatalog
from appliance.system.config_state import sanitized
from appliance.system.node import NodeInfo
from appliance.system.rotation import rotate_if_due
from appliance.tended_engines import TendedEngines
from appliance.webhooks.delivery import WebhookDelivery
from appliance.webhooks.store import WebhookStore
from appliance.wire import WireReply, WireRequest
from audit.trail import AuditTrail
from barrier.changes import ChangeRing
from barrier.seal import Barrier, SealState
from core.clock import SystemClock
from core.errors import HsmConfigError, IntegrityError, MimirError
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.settings import HsmSettings, PinSource
from softhsm.token_backup import LOCK_NAME

log = structlog.get_logger("mimir.composition")

Role = Literal["worker", "housekeeper"]
_UNSEAL_PAUSE = 2.0  # seconds between attempts while the HSM or the store cannot be reached
_SEAL_CHECK = 0.25  # seconds: how long a process that no request comes to keeps its keys after a seal


def compose(config: Config, *, role: Role, ring_path: Path) -> "Node":
    """Put the parts together; nothing is opened before `start`."""
    return Node(config, role=role, ring_path=ring_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What `start` opened, in the order of opening."""

    ring: ChangeRing
    hsm: Hsm
    barrier: Barrier
    shared: Shared
    assembled: Assembled


class Node:
    """A worker's application, or the housekeeper's: the same parts, with periodic work instead of requests."""

    def __init__(self, config: Config, *, role: Role, ring_path: Path) -> None:
        self._config = config
        self._role = role
        self._ring_path = ring_path
        self._opened: _Opened | None = None
        self._beside: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open HSM, store and seal. Raises what an operator must mend; passing trouble is retried in the background."""
        clock = SystemClock()
        ring = ChangeRing.open(self._ring_path)
        hsm = await Hsm.open(hsm_settings(self._config))
        try:
            barrier = await Barrier.open(self._config.store.url, ring, hsm, clock=clock)
        except BaseException:
            await hsm.close()
            raise
        catalog, methods = EngineCatalog(), EngineCatalog(group=AUTH_METHODS)
        types = [*BUILT_IN_TYPES, *catalog.names(), *methods.names()]
        shared = Shared.open(self._ring_path.parent, mount_types=types, serves=self._role == "worker")
        trail = AuditTrail(barrier.storage.view("core/audit/"), clock, process=self._role)
        given = Assembly(
            barrier=barrier,
            storage=barrier.storage,
            sync=barrier.storage.sync,
            keys=hsm,
            trail=trail,
            clock=clock,
            node=node_info(self._config),
            hsm_status=_StatusOf(hsm),
            escrow_id=lambda: hsm.escrow_id,
            catalog=catalog,
            methods=methods,
            shared=shared,
            sanitized=sanitized(self._config),
        )
        assembled = assemble(given)
        self._pipeline, self._cors = assembled.pipeline, assembled.cors
        self._opened = _Opened(ring=ring, hsm=hsm, barrier=barrier, shared=shared, assembled=assembled)
        try:
            await self._open_seal(self._opened)
        except BaseException:
            await self.close()
            raise
        self._run_beside(self._follow_others(self._opened))
        if self._role == "worker":
            self._run_beside(TendedEngines(assembled.mounts).run())
        if self._role == "housekeeper":
            keeping = Housekeeping(
                assembled.lifecycle,
                assembled.tokens,
                sync=barrier.storage.sync,
                leases=assembled.leases,
                follow=assembled.mounts.refresh,
                engines=KeptEngines(assembled.mounts),
                tidy=self._tidy,
                metrics=shared.metrics,
            )
            self._run_beside(keeping.run())
            hooks = WebhookDelivery(
                assembled.lifecycle, barrier.storage, clock, sync=barrier.storage.sync, version=own_version()
            )
            self._run_beside(hooks.run())

    async def _tidy(self) -> None:
        """What the housekeeper does every minute."""
        if self._opened is None:
            return
        assembled = self._opened.assembled
        await assembled.links.tidy_lockouts()
        storage = self._opened.barrier.storage
        await Retention(storage, SystemClock(), WebhookStore(storage, SystemClock())).tidy()
        await rotate_if_due(self._opened.barrier, assembled.settings, SystemClock())
        while await storage.sweep_catalogs():
            pass  # transactions of others come between

    def _run_beside(self, work: Coroutine[Any, Any, None]) -> None:
        self._beside.append(asyncio.create_task(work))

    async def _open_seal(self, opened: _Opened) -> None:
        """Auto-unseal, and initialise first where a development server is told to."""
        lifecycle = opened.assembled.lifecycle
        try:
            await lifecycle.settle()
            if self._config.server.auto_init and opened.barrier.state is SealState.NOT_INITIALIZED:
                await initialize_for_development(opened.barrier, opened.assembled.bootstrap, self._config.init_file)
                await lifecycle.settle()
        except (HsmConfigError, IntegrityError):
            raise
        except MimirError as exc:
            log.warning("not unsealed yet; trying again", reason=exc.sentence)

    async def _follow_others(self, opened: _Opened) -> None:
        """Seal, unseal and set with the other processes, also when no request comes that would tell of it.

        So passing trouble at start is overcome, a sealed appliance has no keys in an idle worker, and who asks which
        pages may call gets an answer of now.
        """
        lifecycle, metrics = opened.assembled.lifecycle, opened.shared.metrics
        while True:
            pause = _SEAL_CHECK
            try:
                if not lifecycle.is_settled():
                    await lifecycle.settle()
                metrics.set(Gauge.UNSEALED, lifecycle.ready)
                metrics.set(Gauge.HSM_BREAKER, not opened.hsm.is_ready)
                if lifecycle.ready:
                    opened.barrier.storage.sync()
                    await opened.assembled.settings.refresh()
            except MimirError as exc:
                log.warning("the seal could not be followed; trying again", reason=exc.sentence)
                pause = _UNSEAL_PAUSE
            except Exception as exc:  # noqa: BLE001 - the outermost frame of a task, which must not end
                log_internal_error(log, exc)
                pause = _UNSEAL_PAUSE
            await asyncio.sleep(pause)

    async def handle(self, request: WireRequest) -> WireReply:
        """Answer one request."""
        cors = self._cors
        if not cors.active:
            return await self._pipeline.handle(request)
        return await cors.around(self._pipeline.handle)(request)

    async def drain(self) -> None:
        """Wait for the requests under way."""
        if self._opened is not None:
            self._opened.assembled.hub.end_all("the server is stopping; connect again")
            await self._opened.assembled.pipeline.drain()

    async def close(self) -> None:
        """Write back, forget the keys, and leave the HSM library last."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        opened, self._opened = self._opened, None
        if opened is None:
            return
        try:
            await opened.assembled.lifecycle.close()
        except MimirError as exc:
            log.warning("not everything could be written back", reason=exc.sentence)
        await opened.barrier.close()
        await opened.hsm.close()
        opened.shared.close()
        opened.ring.close()

    def status_line(self) -> str:
        """For `systemctl status`."""
        return self._opened.barrier.state.value if self._opened else "starting"


class _StatusOf:
    """`sys/hsm/status`, and the change the next issue's metrics will hang on: one place that asks the glue."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm

    async def __call__(self) -> dict[str, Any]:
        """The glue's status as plain values."""
        return dict(msgspec.to_builtins(await self._hsm.status()))


def hsm_settings(config: Config) -> HsmSettings:
    """What the glue needs, out of the configuration."""
    hsm = config.hsm
    home = Path(hsm.softhsm_token_dir or config.server.runtime_dir)
    return HsmSettings(
        module=Path(hsm.module),
        pin=PinSource(
            credential=hsm.pin_credential or None,
            file=Path(hsm.pin_file) if hsm.pin_file else None,
            environment=hsm.pin_env or None,
        ),
        login_lock=home / LOCK_NAME,
        pin_refused=config.pin_refused_path,
        token_label=hsm.token_label or None,
        token_serial=hsm.token_serial or None,
        mode=hsm.mode,
        pool_size=hsm.pool_size,
        locking=hsm.locking,
        handle_cache=hsm.handle_cache,
    )


def node_info(config: Config) -> NodeInfo:
    """Constants of this process for sys/."""
    return NodeInfo(
        version=own_version(),
        storage_type="sqlite" if config.store.url.startswith("sqlite") else "postgresql",
        started_at=time.time(),
        api_address=config.server.api_addr or config.listener[0].url,
        unauthenticated_ceremonies=config.server.unauthenticated_ceremonies,
    )


def own_version() -> str:
    """Semantic version; never empty, since Terraform parses it."""
    try:
        return version("mimir")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0.0.0"

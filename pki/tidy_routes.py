"""tidy, tidy-status, tidy-cancel, config/auto-tidy."""

from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from core.bodies import Duration
from core.clock import rfc3339
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from pki.authority import TidySettings
from pki.certificates import State
from pki.parts import Parts
from pki.store import AuthorityChange
from pki.tidy import Tidy, TidyRun

_WHAT = (
    "tidy_cert_store",
    "tidy_revoked_certs",
    "tidy_revoked_cert_issuer_associations",
    "tidy_expired_issuers",
    "tidy_move_legacy_ca_bundle",
    "tidy_acme",
    "tidy_invalid_certs",
)
_NO_TARGETS = f"no tidy operations were set. Enable at least one tidy operation to be run ({' / '.join(_WHAT)})."
_LARGEST_PAGE = 2**31
_SHOWN = ("safety_buffer", "issuer_safety_buffer", "acme_account_safety_buffer", *_WHAT, "page_size")
_ABSENT = (
    "total_acme_account_count",
    "acme_account_deleted_count",
    "acme_account_revoked_count",
    "acme_orders_deleted_count",
)


class TidyBody(msgspec.Struct):
    """What to tidy. What Mimir does not have (ACME, a legacy bundle) is accepted and without effect."""

    tidy_cert_store: bool | None = None
    tidy_revocation_list: bool | None = None  # the old name of tidy_revoked_certs
    tidy_revoked_certs: bool | None = None
    tidy_revoked_cert_issuer_associations: bool | None = None
    tidy_expired_issuers: bool | None = None
    tidy_move_legacy_ca_bundle: bool | None = None
    tidy_acme: bool | None = None
    tidy_invalid_certs: bool | None = None
    tidy_cross_cluster_revoked_certs: bool | None = None
    tidy_cmpv2_nonce_store: bool | None = None
    safety_buffer: Duration | None = None
    issuer_safety_buffer: Duration | None = None
    acme_account_safety_buffer: Duration | None = None
    revoked_safety_buffer: Duration | None = None
    pause_duration: Duration | None = None
    page_size: int | None = None


class AutoTidyBody(TidyBody):
    """The same, done again and again."""

    enabled: bool | None = None
    interval_duration: Duration | None = None
    maintain_stored_certificate_counts: bool | None = None
    publish_stored_certificate_count_metrics: bool | None = None


class TidyRoutes:
    """Orders and answers; the work is the housekeeper's."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tidy: Tidy = parts.tidy

    def routes(self) -> list[Route]:
        """Below the mount."""
        start = Method(handler=self._start, body=TidyBody, summary="Remove what expired", statuses=(202,))
        status = Method(handler=self._status, mutates=False, summary="How tidying stands")
        cancel = Method(handler=self._cancel, summary="Stop tidying")
        read = Method(handler=self._read, mutates=False, summary="How the mount tidies itself")
        write = Method(handler=self._write, body=AutoTidyBody, summary="Say how the mount tidies itself")
        return [
            Route(pattern="tidy", methods={Operation.UPDATE: start}),
            Route(pattern="tidy-status", methods={Operation.READ: status}),
            Route(pattern="tidy-cancel", methods={Operation.UPDATE: cancel}),
            Route(pattern="config/auto-tidy", methods={Operation.READ: read, Operation.UPDATE: write}),
        ]

    async def _start(self, _request: Request, body: TidyBody) -> Response:
        settings = _changed(TidySettings(), body)
        if not any(getattr(settings, name) for name in _WHAT):
            return Response(warnings=[f"Manual tidy requested but {_NO_TARGETS}"], status=202)
        if not await self._tidy.start(settings):
            return Response(warnings=["Tidy operation already in progress."], status=202)
        return Response(warnings=["Tidy operation successfully started; tidy-status tells how it goes."], status=202)

    async def _status(self, _request: Request, _body: Any) -> Response:
        return Response(data=await self._answer())

    async def _cancel(self, _request: Request, _body: Any) -> Response:
        if not await self._tidy.cancel():
            return Response(warnings=["Tidy operation cannot be cancelled as none is currently running."])
        return Response(data=await self._answer())

    async def _read(self, _request: Request, _body: Any) -> Response:
        return Response(data=_config((await self._parts.store.authority()).index.tidy))

    async def _write(self, _request: Request, body: AutoTidyBody) -> Response:
        async def work(change: AuthorityChange) -> TidySettings:
            settings = _changed(change.index.tidy, body)
            _check_auto(settings)
            change.set_index(replace(change.index, tidy=settings))
            return settings

        return Response(data=_config(await self._parts.store.change_authority(work)))

    async def _answer(self) -> dict[str, Any]:
        run = await self._tidy.run()
        data = _status_of(run)
        data["internal_backend_uuid"] = self._parts.mount.uuid
        settings = (await self._parts.store.authority()).index.tidy
        if settings.maintain_stored_certificate_counts:
            count = self._parts.store.storage.count_rows
            data["current_cert_store_count"] = await count("certs", states=(State.ISSUED, State.REVOKED))
            data["current_revoked_cert_count"] = await count("certs", states=(State.REVOKED,))
        return data


def _changed(settings: TidySettings, body: TidyBody) -> TidySettings:
    """Raises InvalidRequestError."""
    given = {name: value for name in TidySettings.__struct_fields__ if (value := getattr(body, name, None)) is not None}
    if body.tidy_revocation_list:
        given["tidy_revoked_certs"] = True
    for name in ("safety_buffer", "revoked_safety_buffer", "issuer_safety_buffer", "acme_account_safety_buffer"):
        if given.get(name, 1) < 1:
            raise InvalidRequestError(f"{name} must be at least one second")
    if not 1 <= given.get("page_size", 1) <= _LARGEST_PAGE:
        raise InvalidRequestError(f"page_size must be at least 1, and at most {_LARGEST_PAGE}")
    return replace(settings, **given)


def _check_auto(settings: TidySettings) -> None:
    if settings.enabled and not any(getattr(settings, name) for name in _WHAT):
        raise InvalidRequestError(
            "Auto-tidy enabled but no tidy operations were requested. Enable at least one tidy operation to be run"
            f" ({' / '.join(_WHAT)})."
        )
    if settings.publish_stored_certificate_count_metrics and not settings.maintain_stored_certificate_counts:
        raise InvalidRequestError(
            "Can not publish a running storage metrics count to metrics without first maintaining that count. Enable"
            " `maintain_stored_certificate_counts` to enable `publish_stored_certificate_count_metrics`."
        )


def _config(settings: TidySettings) -> dict[str, Any]:
    data = asdict(settings)
    data["pause_duration"] = f"{settings.pause_duration}s"
    data["revoked_safety_buffer"] = settings.revoked_safety_buffer or settings.safety_buffer
    return data


def _status_of(run: TidyRun) -> dict[str, Any]:
    """Everything null while there was none, as in Vault."""
    if run.state == "Inactive":
        names = (*_SHOWN, "revoked_safety_buffer", "pause_duration", *_TIMES, *_COUNTS, *_ABSENT)
        return {**dict.fromkeys(names), "state": run.state, "error": None, "message": None}
    settings = run.settings
    return {
        **{name: getattr(settings, name) for name in _SHOWN},
        "revoked_safety_buffer": settings.revoked_safety_buffer or settings.safety_buffer,
        "pause_duration": f"{settings.pause_duration}s",
        "state": run.state,
        "error": run.error or None,
        "message": None,
        "time_started": rfc3339(run.started_at),
        "time_finished": rfc3339(run.finished_at) if run.finished_at else None,
        "last_auto_tidy_finished": rfc3339(run.auto_finished_at) if run.auto_finished_at else None,
        "cert_store_deleted_count": run.certificates,
        "revoked_cert_deleted_count": run.revoked,
        "missing_issuer_cert_count": run.missing,
        **dict.fromkeys(("current_cert_store_count", "current_revoked_cert_count")),
        **dict.fromkeys(_ABSENT, 0),
    }


_TIMES = ("time_started", "time_finished", "last_auto_tidy_finished")
_COUNTS = (
    "cert_store_deleted_count",
    "revoked_cert_deleted_count",
    "missing_issuer_cert_count",
    "current_cert_store_count",
    "current_revoked_cert_count",
)

"""config/crl: how CRLs and OCSP answers are made."""

from typing import Any

import msgspec
from msgspec.structs import replace

from core.bodies import Duration
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from pki.authority import CrlSettings
from pki.parts import Parts
from pki.store import AuthorityChange, PkiStore

_YEAR = 365 * 86400  # seconds
_LONGEST = 100 * _YEAR  # what ends after 9999 cannot be signed at all
_SHORTEST = 60  # seconds of a CRL's life: a shorter one would be signed again and again


class CrlConfigBody(msgspec.Struct):
    """Members that are absent keep their value."""

    expiry: Duration | None = None
    disable: bool | None = None
    ocsp_disable: bool | None = None
    ocsp_expiry: Duration | None = None
    ocsp_delegated: bool | None = None
    auto_rebuild: bool | None = None
    auto_rebuild_grace_period: Duration | None = None
    enable_delta: bool | None = None
    delta_rebuild_interval: Duration | None = None
    allow_expired_cert_revocation: bool = False
    cross_cluster_revocation: bool = False
    unified_crl: bool = False
    unified_crl_on_existing_paths: bool = False


class CrlConfigRoutes:
    """The settings are in the authority; what follows from them is the housekeeper's work."""

    def __init__(self, parts: Parts) -> None:
        self._store: PkiStore = parts.store

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="config/crl",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="How CRLs are made"),
                    Operation.UPDATE: Method(handler=self._write, body=CrlConfigBody, summary="Say how CRLs are made"),
                },
                help="Without `auto_rebuild` a CRL is signed within about a second of a revocation; with it, when"
                " `auto_rebuild_grace_period` is left of the last one. `enable_delta` needs it."
                " With `ocsp_delegated` short-lived responders sign OCSP answers, and the keys of the issuers do not.",
            )
        ]

    async def _read(self, _request: Request, _body: Any) -> Response:
        return Response(data=_answer((await self._store.authority()).index.crl))

    async def _write(self, _request: Request, body: CrlConfigBody) -> Response:
        for name in (
            "allow_expired_cert_revocation",
            "cross_cluster_revocation",
            "unified_crl",
            "unified_crl_on_existing_paths",
        ):
            if getattr(body, name):
                raise InvalidRequestError(f"{name} is not supported: leave it out or set it to false")
        given = {
            name: value for name in CrlSettings.__struct_fields__ if (value := getattr(body, name, None)) is not None
        }

        async def work(change: AuthorityChange) -> CrlSettings:
            settings = replace(change.index.crl, **given)
            check_settings(settings)
            change.set_index(replace(change.index, crl=settings))
            return settings

        return Response(data=_answer(await self._store.change_authority(work)))


def check_settings(settings: CrlSettings) -> None:
    """Raises InvalidRequestError."""
    if settings.expiry < _SHORTEST:
        raise InvalidRequestError(f"expiry must be at least {_SHORTEST} seconds")
    if max(settings.expiry, settings.ocsp_expiry) > _LONGEST:
        raise InvalidRequestError(f"expiry and ocsp_expiry are at most {_LONGEST // _YEAR} years")
    if settings.auto_rebuild and settings.auto_rebuild_grace_period >= settings.expiry:
        raise InvalidRequestError(
            f"CRL auto-rebuilding grace period ({_text(settings.auto_rebuild_grace_period)}) must be strictly shorter"
            f" than CRL expiry ({_text(settings.expiry)}) value when auto-rebuilding of CRLs is enabled"
        )
    if settings.enable_delta and settings.delta_rebuild_interval >= settings.expiry:
        raise InvalidRequestError(
            f"CRL delta rebuild window ({_text(settings.delta_rebuild_interval)}) must be strictly shorter than CRL"
            f" expiry ({_text(settings.expiry)}) value when delta CRLs are enabled"
        )
    if settings.enable_delta and not settings.auto_rebuild:
        raise InvalidRequestError(
            "Delta CRLs cannot be enabled when auto rebuilding is disabled as the complete CRL is always regenerated!"
        )


def _answer(settings: CrlSettings) -> dict[str, Any]:
    return {
        "expiry": _text(settings.expiry),
        "disable": settings.disable,
        "ocsp_disable": settings.ocsp_disable,
        "ocsp_expiry": _text(settings.ocsp_expiry),
        "ocsp_delegated": settings.ocsp_delegated,
        "auto_rebuild": settings.auto_rebuild,
        "auto_rebuild_grace_period": _text(settings.auto_rebuild_grace_period),
        "enable_delta": settings.enable_delta,
        "delta_rebuild_interval": _text(settings.delta_rebuild_interval),
        "allow_expired_cert_revocation": False,
    }


def _text(seconds: int) -> str:
    """A duration as people write it: "72h", "15m", "90s"."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds and not seconds % size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"

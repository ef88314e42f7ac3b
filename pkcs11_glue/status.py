"""What `mimir hsm status` shows."""

import msgspec

from core.protocols import KeyKind, KeyUsage
from pkcs11_glue.connection import Connection
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.link import HsmLink
from pkcs11_glue.probe import MechanismStatus
from pkcs11_glue.templates import USAGES


class HsmStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the link to the token, for people and monitors. Fields of a token that is gone are empty."""

    module: str
    library: str
    token_label: str
    token_serial: str
    state: str  # "ready", "reopening" or "failed"
    reason: str
    mode: str  # "inline" or "pool"
    latency_us: float  # of a small encryption, as measured last
    epoch: int
    live_handles: int
    kek_ids: list[str]
    active_kek_id: str
    escrow_id: str
    objects: int  # token objects; -1 when they could not be counted
    mechanisms: list[MechanismStatus]
    custody: dict[str, str]  # by kind of key: "hsm", "sealed", or which usage is where


def collect(link: HsmLink, *, epoch: int, live_handles: int, objects: int) -> HsmStatus:
    """The status now; on the event loop's thread, whose session may be asked for the escrow key."""
    connection = link.opened
    return HsmStatus(
        module=str(link.settings.module),
        library=connection.library if connection else "",
        token_label=connection.login.token.label if connection else link.settings.token_label or "",
        token_serial=connection.login.token.serial if connection else link.settings.token_serial or "",
        state=link.state,
        reason=link.reason,
        mode="inline" if link.inline else "pool",
        latency_us=round(connection.latency_us, 1) if connection else 0.0,
        epoch=epoch,
        live_handles=live_handles,
        kek_ids=list(connection.keks) if connection else [],
        active_kek_id=connection.active_kek.kek_id if connection else "",
        escrow_id=_escrow_id(connection),
        objects=objects,
        mechanisms=connection.mechanisms if connection else [],
        custody={kind.value: _custody(connection, kind) for kind in KeyKind} if connection else {},
    )


def _custody(connection: Connection, kind: KeyKind) -> str:
    """One word where all usages agree, else each: "hsm (encrypt, mac), sealed (derive)"."""
    places: dict[str, list[str]] = {}
    for usage in KeyUsage:
        if usage in USAGES[kind]:
            places.setdefault(connection.custody_of(kind, usage).value, []).append(usage.value)
    if len(places) == 1:
        return next(iter(places))
    return ", ".join(f"{place} ({', '.join(usages)})" for place, usages in places.items())


def _escrow_id(connection: Connection | None) -> str:
    try:
        found = connection.refresh_escrow() if connection else None
    except CryptokiError:
        return ""
    return found.escrow_id if found else ""

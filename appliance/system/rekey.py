"""`sys/rekey`, `sys/rekey-recovery-key`, `sys/rotate/root` and `sys/rotate/recovery`.

With an auto-unseal, "rekey" of the barrier makes another root key inside the HSM, of which nobody gets a share; only
the recovery keys are handed out anew. Both are authorised by the recovery keys that there are.
"""

from typing import Any, Generic, TypeVar

import msgspec

from appliance.system.callers import Vouch, nobody
from appliance.system.recovery_keys import (
    TRUSTED,
    Entrance,
    NonceBody,
    ShareBody,
    given_share,
    shown,
)
from barrier.ceremonies import NewShares, RecoveryRotation, RootKeyRotation
from barrier.ceremony import AttemptStatus, Ceremony
from barrier.share_counts import ShareCounts
from core.bodies import StringList
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import NO_CONTENT, Request, Response

_ROOT_HELP = "Replace the barrier's root key inside the HSM, with recovery keys."
_RECOVERY_HELP = "Replace the recovery keys, with those that there are."
_BACKUP_HELP = "Backed-up keys; there are none, since keys are never encrypted to PGP keys."


class StartBody(msgspec.Struct):
    """Vault's fields."""

    secret_shares: int = 0
    secret_threshold: int = 0
    stored_shares: int = 0
    pgp_keys: StringList = StringList()
    backup: bool = False
    require_verification: bool = False


class RekeyRoutes:
    """Below sys/."""

    def __init__(self, root: RootKeyRotation, recovery: RecoveryRotation, vouch: Vouch = nobody) -> None:
        self._root = root
        self._recovery = recovery
        self._open = Entrance(vouch)

    def routes(self) -> list[Route]:
        """The older ones ask for no token, and are on record all the same."""
        return [
            *_RootHandlers(self._root, self._open).routes("rekey"),
            *_RecoveryHandlers(self._recovery, self._open).routes("rekey-recovery-key"),
            *_RootHandlers(self._root, TRUSTED).routes("rotate/root"),
            *_RecoveryHandlers(self._recovery, TRUSTED).routes("rotate/recovery"),
            *_backup_routes(),
            self._rotate_root_route(),
        ]

    def _rotate_root_route(self) -> Route:
        rotate = Method(handler=self._rotate_root, summary="Replace the root key at once.")
        return TRUSTED.route("rotate/root", "Replace the barrier's root key inside the HSM.", update=rotate)

    async def _rotate_root(self, _request: Request, _body: object) -> Response:
        await self._root.rotate()
        return NO_CONTENT


R = TypeVar("R", bound=Ceremony)


class _RotationHandlers(Generic[R]):
    """What both rotations are asked by one way in."""

    def __init__(self, rotation: R, entrance: Entrance) -> None:
        self._rotation = rotation
        self._entrance = entrance

    async def status(self, request: Request, _body: object) -> Response:
        status = await self._rotation.status()
        nonce = await self._entrance.nonce(request, status.nonce)
        return self._entrance.answer(_status(status, self._entrance, nonce=nonce))

    async def cancel(self, request: Request, body: NonceBody) -> Response:
        await self._rotation.cancel(await self._entrance.cancelling(request, body))
        return NO_CONTENT

    async def _progress(self, nonce: str) -> Response:
        """How far it is, for who has just given a share and so knows the nonce."""
        return self._entrance.answer(_status(await self._rotation.status(), self._entrance, nonce=nonce))


class _RootHandlers(_RotationHandlers[RootKeyRotation]):
    """A new root key."""

    def routes(self, folder: str) -> list[Route]:
        status = Method(handler=self.status, mutates=False, summary="How far the rotation is.")
        start = Method(handler=self.start, body=StartBody, summary="Begin to replace the root key.")
        cancel = Method(handler=self.cancel, body=NonceBody, summary="Cancel it; needs its nonce, or a token.")
        give = Method(handler=self.give, body=ShareBody, summary="Give one recovery key.")
        unverified = Method(handler=self.unverified, mutates=False, summary="There is nothing to verify.")
        return [
            self._entrance.route(f"{folder}/init", _ROOT_HELP, read=status, update=start, delete=cancel),
            self._entrance.route(f"{folder}/update", _ROOT_HELP, update=give),
            self._entrance.route(f"{folder}/verify", _ROOT_HELP, read=unverified, update=unverified, delete=unverified),
        ]

    async def start(self, _request: Request, body: StartBody) -> Response:
        if body.pgp_keys:
            raise InvalidRequestError("PGP key encryption not supported when using stored keys")
        if body.backup:
            raise InvalidRequestError("key backup not supported when using stored keys")
        if body.require_verification:
            raise InvalidRequestError(
                "requiring verification not supported when rekeying the barrier key with recovery keys"
            )
        return self._entrance.answer(_begun(await self._rotation.start()))

    async def give(self, _request: Request, body: ShareBody) -> Response:
        if await self._rotation.give(given_share(body), body.nonce):
            return self._entrance.answer(_completed(NewShares(shares=[]), body.nonce))
        return await self._progress(body.nonce)

    async def unverified(self, _request: Request, _body: object) -> Response:
        raise InvalidRequestError("no rekey configuration found: the root key's rotation is never verified")


class _RecoveryHandlers(_RotationHandlers[RecoveryRotation]):
    """New recovery keys."""

    def routes(self, folder: str) -> list[Route]:
        status = Method(handler=self.status, mutates=False, summary="How far the rotation is.")
        start = Method(handler=self.start, body=StartBody, summary="Begin to replace the recovery keys.")
        cancel = Method(handler=self.cancel, body=NonceBody, summary="Cancel it; needs its nonce, or a token.")
        give = Method(handler=self.give, body=ShareBody, summary="Give one of the present recovery keys.")
        verification = Method(handler=self.verification, mutates=False, summary="How far the verification is.")
        verify = Method(handler=self.verify, body=ShareBody, summary="Give one of the new recovery keys.")
        restart = Method(handler=self.restart, body=NonceBody, summary="Begin the verification again.")
        return [
            self._entrance.route(f"{folder}/init", _RECOVERY_HELP, read=status, update=start, delete=cancel),
            self._entrance.route(f"{folder}/update", _RECOVERY_HELP, update=give),
            self._entrance.route(f"{folder}/verify", _RECOVERY_HELP, read=verification, update=verify, delete=restart),
        ]

    async def start(self, _request: Request, body: StartBody) -> Response:
        """Begin. A cluster without recovery keys gets its first ones at once, from whom a policy allows it."""
        wanted = _wanted(body)
        first = await self._rotation.make_first(wanted) if self._entrance.is_trusted else None
        if first is not None:
            counts = {"t": wanted.threshold, "n": wanted.shares}
            return self._entrance.answer(_completed(first, "") | counts)
        status = await self._rotation.start(wanted, is_verified=body.require_verification)
        return self._entrance.answer(_begun(status))

    async def give(self, _request: Request, body: ShareBody) -> Response:
        new = await self._rotation.give(given_share(body), body.nonce)
        if new is not None:
            return self._entrance.answer(_completed(new, body.nonce))
        return await self._progress(body.nonce)

    async def verification(self, request: Request, _body: object) -> Response:
        status = await self._rotation.status()
        if not status.started:
            raise InvalidRequestError("no rekey configuration found: no rotation of recovery keys is in progress")
        nonce = await self._entrance.nonce(request, status.verification_nonce)
        return self._entrance.answer(_verification(status, nonce=nonce))

    async def verify(self, _request: Request, body: ShareBody) -> Response:
        if await self._rotation.verify(given_share(body), body.nonce):
            return self._entrance.answer({"nonce": body.nonce, "complete": True})
        return self._entrance.answer(_verification(await self._rotation.status(), nonce=body.nonce))

    async def restart(self, request: Request, body: NonceBody) -> Response:
        status = await self._rotation.restart_verification(await self._entrance.cancelling(request, body))
        return self._entrance.answer(_verification(status, nonce=status.verification_nonce))


def _wanted(body: StartBody) -> ShareCounts:
    """Raises InvalidRequestError for what recovery keys cannot be."""
    if body.stored_shares:
        raise InvalidRequestError("stored shares not supported by recovery key")
    if body.pgp_keys:
        raise InvalidRequestError("PGP keys are not supported; leave pgp_keys out")
    if body.backup:
        raise InvalidRequestError(
            "cannot request a backup of the new keys without providing PGP keys for encryption, which are not supported"
        )
    return ShareCounts(shares=body.secret_shares, threshold=body.secret_threshold)


def _begun(status: AttemptStatus) -> dict[str, Any]:
    """What whoever began it is told, by either way in."""
    return _status(status, TRUSTED, nonce=status.nonce)


def _status(status: AttemptStatus, entrance: Entrance, *, nonce: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "nonce": nonce,
        "started": status.started,
        "t": status.wanted.threshold,
        "n": status.wanted.shares,
        "progress": status.progress,
        "required": status.required,
        "pgp_fingerprints": None,
        "backup": False,
        "verification_required": status.is_verified,
    }
    if entrance.is_trusted:
        data["seal_threshold"] = status.required
        if status.verification_nonce:
            data["verification_nonce"] = status.verification_nonce
    return data


def _verification(status: AttemptStatus, *, nonce: str) -> dict[str, Any]:
    return {
        "nonce": nonce,
        "started": bool(status.verification_nonce),
        "t": status.wanted.threshold,
        "n": status.wanted.shares,
        "progress": status.verification_progress,
    }


def _completed(new: NewShares, nonce: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "nonce": nonce,
        "complete": True,
        **shown(new.shares),
        "pgp_fingerprints": None,
        "backup": False,
        "verification_required": bool(new.verification_nonce),
    }
    if new.verification_nonce:
        data["verification_nonce"] = new.verification_nonce
    return data


def _backup_routes() -> list[Route]:
    read = Method(handler=_read_backup, mutates=False, summary="There is none.")
    delete = Method(handler=_delete_backup, mutates=False, summary="There is none.")
    paths = ("rekey/backup", "rekey/recovery-key-backup", "rotate/root/backup", "rotate/recovery/backup")
    return [TRUSTED.route(path, _BACKUP_HELP, read=read, delete=delete) for path in paths]


async def _read_backup(_request: Request, _body: object) -> Response:
    raise InvalidRequestError("no backed-up keys found")


async def _delete_backup(_request: Request, _body: object) -> Response:
    return NO_CONTENT

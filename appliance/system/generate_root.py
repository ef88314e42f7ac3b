"""`sys/generate-root` and `sys/generate-root-token`: a root token for whoever gathers a quorum of recovery keys."""

import base64
import secrets
import string
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from appliance.system.callers import Vouch, nobody
from appliance.system.recovery_keys import (
    TRUSTED,
    Entrance,
    NonceBody,
    ShareBody,
    given_share,
)
from barrier.ceremonies import RootGeneration
from barrier.ceremony import AttemptStatus
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import NO_CONTENT, Request, Response

MakeRootToken = Callable[[], Awaitable[str]]

# "hvs." and 24 characters; the one-time pad is as long
TOKEN_LENGTH = 28

_BASE62 = string.digits + string.ascii_letters
_HELP = "Generate a root token with recovery keys; it comes back veiled by a one-time pad."


class StartBody(msgspec.Struct):
    """What a root generation is begun with. Without `otp` the appliance draws one."""

    otp: str = ""
    pgp_key: str = ""


class GenerateRootRoutes:
    """Both ways in lead to the same attempt."""

    def __init__(self, generation: RootGeneration, make_root_token: MakeRootToken, vouch: Vouch = nobody) -> None:
        self._generation = generation
        self._make_root_token = make_root_token
        self._vouch = vouch

    def routes(self) -> list[Route]:
        """Below sys/; the older ones ask for no token, and are on record all the same."""
        old, new = _Handlers(self, Entrance(self._vouch)), _Handlers(self, TRUSTED)
        return [*old.routes("generate-root"), *new.routes("generate-root-token")]

    async def status(self) -> dict[str, Any]:
        """Vault's fields."""
        return _shown(await self._generation.status())

    async def start(self, body: StartBody) -> dict[str, Any]:
        """Begin; the pad is shown now and never again."""
        if body.pgp_key:
            raise InvalidRequestError("PGP keys are not supported; leave pgp_key out, and a one-time pad is drawn")
        otp = body.otp or new_otp()
        if len(otp) != TOKEN_LENGTH or not otp.isascii():
            raise InvalidRequestError("OTP string is wrong length")
        status = await self._generation.start(otp)
        return _shown(status) | {"otp": "" if body.otp else otp}

    async def give(self, body: ShareBody) -> dict[str, Any]:
        """Take one share. With the last one: the token, XORed with the pad."""
        otp = await self._generation.give(given_share(body), body.nonce)
        if otp is None:
            return _shown(await self._generation.status()) | {"nonce": body.nonce}
        encoded = encode_token(await self._make_root_token(), otp)
        status = await self._generation.status()
        return _shown(status) | {
            "nonce": body.nonce,
            "started": True,
            "progress": status.required,
            "complete": True,
            "encoded_token": encoded,
            "encoded_root_token": encoded,
        }

    async def cancel(self, nonce: str | None) -> None:
        """Forget the attempt."""
        await self._generation.cancel(nonce)


class _Handlers:
    """The endpoints of one way in."""

    def __init__(self, work: GenerateRootRoutes, entrance: Entrance) -> None:
        self._work = work
        self._entrance = entrance

    def routes(self, folder: str) -> list[Route]:
        start = Method(handler=self.start, body=StartBody, summary="Begin to generate a root token.")
        cancel = Method(handler=self.cancel, body=NonceBody, summary="Cancel it; needs its nonce, or a token.")
        status = Method(handler=self.status, mutates=False, summary="How far the root generation is.")
        give = Method(handler=self.give, body=ShareBody, summary="Give one recovery key.")
        return [
            self._entrance.route(f"{folder}/attempt", _HELP, read=status, update=start, delete=cancel),
            self._entrance.route(f"{folder}/update", _HELP, update=give),
        ]

    async def status(self, request: Request, _body: object) -> Response:
        data = await self._work.status()
        return self._entrance.answer(data | {"nonce": await self._entrance.nonce(request, data["nonce"])})

    async def start(self, _request: Request, body: StartBody) -> Response:
        return self._entrance.answer(await self._work.start(body))

    async def give(self, _request: Request, body: ShareBody) -> Response:
        return self._entrance.answer(await self._work.give(body))

    async def cancel(self, request: Request, body: NonceBody) -> Response:
        await self._work.cancel(await self._entrance.cancelling(request, body))
        return NO_CONTENT


def new_otp() -> str:
    """A one-time pad: base62, as long as a token."""
    return "".join(secrets.choice(_BASE62) for _ in range(TOKEN_LENGTH))


def encode_token(token: str, otp: str) -> str:
    """The token XORed with the pad, in base64 without padding."""
    if len(token) != len(otp):
        raise RuntimeError("the root token is not as long as its one-time pad")
    veiled = bytes(a ^ b for a, b in zip(token.encode(), otp.encode(), strict=True))
    return base64.b64encode(veiled).decode().rstrip("=")


def _shown(status: AttemptStatus) -> dict[str, Any]:
    return {
        "nonce": status.nonce,
        "started": status.started,
        "progress": status.progress,
        "required": status.required,
        "complete": False,
        "encoded_token": "",
        "encoded_root_token": "",
        "pgp_fingerprint": "",
        "otp": "",
        "otp_length": TOKEN_LENGTH,
    }

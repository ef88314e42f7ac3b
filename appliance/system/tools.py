"""`sys/tools`: random bytes from the HSM, and hashes."""

import asyncio
import base64
import hashlib
import os

import msgspec

from core.bodies import Base64Bytes
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.protocols import KeyCustodian
from core.requests import Operation, Request, Response

MAX_RANDOM = 128 * 1024  # bytes; Vault's limit, too
DEFAULT_RANDOM = 32
_SMALL = 64 * 1024  # bytes that are hashed in no time; more than that would hold up others
_HASHES = {
    **{f"sha2-{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)},
    **{f"sha3-{bits}": f"sha3_{bits}" for bits in (224, 256, 384, 512)},
}


class RandomBody(msgspec.Struct):
    """How many, how written, and from where."""

    bytes: int | None = None
    format: str = "base64"
    source: str = "platform"


class HashBody(msgspec.Struct):
    """What to hash, and how."""

    input: Base64Bytes
    algorithm: str = "sha2-256"
    format: str = "hex"


class ToolRoutes:
    """Stores nothing."""

    def __init__(self, keys: KeyCustodian) -> None:
        self._keys = keys

    def routes(self) -> list[Route]:
        """Below sys/."""
        random = Method(handler=self.random, body=RandomBody, mutates=False, summary="Random bytes from the HSM.")
        digest = Method(handler=self.hash, body=HashBody, mutates=False, summary="The hash of the input.")
        return [
            *(
                Route(pattern=pattern, methods={Operation.UPDATE: random}, help="Random bytes, in base64 or hex.")
                for pattern in ("tools/random", "tools/random/{first}", "tools/random/{first}/{second}")
            ),
            *(
                Route(pattern=pattern, methods={Operation.UPDATE: digest}, help="A SHA-2 or SHA-3 hash.")
                for pattern in ("tools/hash", "tools/hash/{algorithm}")
            ),
        ]

    async def random(self, request: Request, body: RandomBody) -> Response:
        """`platform` and `hsm` ask the HSM; `all` mixes in the system's generator."""
        source, length = _wanted(request, body)
        drawn = await self._keys.random(length)
        if source == "all":
            drawn = bytes(one ^ other for one, other in zip(drawn, os.urandom(length), strict=True))
        return Response(data={"random_bytes": _written(drawn, body.format)})

    async def hash(self, request: Request, body: HashBody) -> Response:
        """The algorithm of the path goes before that of the body."""
        algorithm = _HASHES.get(request.params.get("algorithm", body.algorithm))
        if algorithm is None:
            raise InvalidRequestError(f"algorithm must be one of {', '.join(_HASHES)}")
        digest = hashlib.new(algorithm)
        if len(body.input) > _SMALL:
            await asyncio.to_thread(digest.update, body.input)
        else:
            digest.update(body.input)
        return Response(data={"sum": _written(digest.digest(), body.format)})


def _wanted(request: Request, body: RandomBody) -> tuple[str, int]:
    """Source and length. The path says either or both; a number alone is the length."""
    source, length = body.source, DEFAULT_RANDOM if body.bytes is None else body.bytes
    words = [request.params[name] for name in ("first", "second") if name in request.params]
    if words and not (len(words) == 1 and words[0].isdigit()):
        source = words.pop(0)
    if words:
        if not (words[0].isascii() and words[0].isdigit() and len(words[0]) <= 9):
            raise InvalidRequestError("the number of bytes in the path must be a whole number")
        length = int(words[0])
    if source not in {"platform", "hsm", "all"}:
        raise InvalidRequestError("source must be platform, hsm or all")
    if not 1 <= length <= MAX_RANDOM:
        raise InvalidRequestError(f"bytes must be between 1 and {MAX_RANDOM}")
    return source, length


def _written(value: bytes, form: str) -> str:
    if form == "hex":
        return value.hex()
    if form == "base64":
        return base64.b64encode(value).decode()
    raise InvalidRequestError('format must be "hex" or "base64"')

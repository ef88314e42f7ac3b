"""`sys/tools`: random bytes from the HSM, and hashes."""

import msgspec

from core.bodies import Base64Bytes
from core.digests import SHA2_AND_SHA3, digest, written
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.protocols import KeyCustodian
from core.random_bytes import draw, wanted_bytes
from core.requests import Operation, Request, Response


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
        hashed = Method(handler=self.hash, body=HashBody, mutates=False, summary="The hash of the input.")
        return [
            *(
                Route(pattern=pattern, methods={Operation.UPDATE: random}, help="Random bytes, in base64 or hex.")
                for pattern in ("tools/random", "tools/random/{first}", "tools/random/{first}/{second}")
            ),
            *(
                Route(pattern=pattern, methods={Operation.UPDATE: hashed}, help="A SHA-2 or SHA-3 hash.")
                for pattern in ("tools/hash", "tools/hash/{algorithm}")
            ),
        ]

    async def random(self, request: Request, body: RandomBody) -> Response:
        """Source and length may stand in the path."""
        source, length = wanted_bytes(request.params, length=body.bytes, source=body.source)
        drawn = await draw(self._keys, source=source, length=length)
        return Response(data={"random_bytes": written(drawn, body.format)})

    async def hash(self, request: Request, body: HashBody) -> Response:
        """The algorithm of the path goes before that of the body."""
        hash_name = SHA2_AND_SHA3.get(request.params.get("algorithm", body.algorithm))
        if hash_name is None:
            raise InvalidRequestError(f"algorithm must be one of {', '.join(SHA2_AND_SHA3)}")
        return Response(data={"sum": written(await digest(hash_name, body.input), body.format)})

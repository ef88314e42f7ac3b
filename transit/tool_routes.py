"""hash and random: as `sys/tools` has them, and in batches."""

from collections.abc import Sequence
from typing import Any

from core.digests import SHA2_AND_SHA3, digest, digest_all, written
from core.engine import Method, Route
from core.errors import CallerError, InvalidRequestError, RequestTooLargeError
from core.random_bytes import draw, draw_pieces, wanted_bytes
from core.requests import Operation, Request, Response
from transit.batch import check_size, item_response, run_batch
from transit.format import decode_base64
from transit.parts import Parts
from transit.signature_bodies import HashBody, HashItem, RandomBody, RandomItem

_MOST_AT_ONCE = 10 * 2**20  # random bytes in one batch


class ToolRoutes:
    """Stores nothing."""

    def __init__(self, parts: Parts) -> None:
        self._keys = parts.keys

    def routes(self) -> list[Route]:
        """Below the mount."""
        random = Method(handler=self._random, body=RandomBody, mutates=False, summary="Random bytes from the HSM")
        hashed = Method(handler=self._hash, body=HashBody, mutates=False, summary="The hash of the input")
        return [
            *(
                Route(pattern=pattern, methods={Operation.UPDATE: random}, help="Random bytes, in base64 or hex.")
                for pattern in ("random", "random/{first}", "random/{first}/{second}")
            ),
            *(
                Route(pattern=pattern, methods={Operation.UPDATE: hashed}, help="A SHA-2 or SHA-3 hash.")
                for pattern in ("hash", "hash/{algorithm}")
            ),
        ]

    async def _random(self, request: Request, body: RandomBody) -> Response:
        source, length = wanted_bytes(request.params, length=body.bytes, source=body.source)
        form = body.format
        written(b"", form)  # is it a form at all?
        if body.batch_input is None:
            return Response(data={"random_bytes": written(await draw(self._keys, source=source, length=length), form)})
        check_size(body.batch_input)

        def parse(item: RandomItem) -> int:
            return length if item.bytes is None else wanted_bytes({}, length=item.bytes, source=source)[1]

        async def run(lengths: list[int]) -> list[bytes | CallerError]:
            return list(await self._draw_all(source, lengths))

        answers = await run_batch(body.batch_input, parse, run)

        def show(drawn: bytes) -> dict[str, Any]:
            return {"random_bytes": written(drawn, form)}

        return item_response(body.batch_input, answers, show, failed={})

    async def _draw_all(self, source: str, lengths: Sequence[int]) -> list[bytes]:
        total = sum(lengths)
        if total > _MOST_AT_ONCE:
            raise RequestTooLargeError(f"batch_input asks for {total} bytes; one request takes at most {_MOST_AT_ONCE}")
        return await draw_pieces(self._keys, source=source, lengths=lengths)

    async def _hash(self, request: Request, body: HashBody) -> Response:
        hash_name = SHA2_AND_SHA3.get(request.params.get("algorithm") or body.algorithm)
        if hash_name is None:
            raise InvalidRequestError(f"unsupported algorithm; it is one of {', '.join(SHA2_AND_SHA3)}")
        form = body.format
        written(b"", form)  # is it a form at all?
        if body.batch_input is None:
            return Response(data={"sum": written(await digest(hash_name, _to_hash(body)), form)})
        check_size(body.batch_input)

        async def run(messages: list[bytes]) -> list[bytes | CallerError]:
            return list(await digest_all(hash_name, messages))

        answers = await run_batch(body.batch_input, _to_hash, run)

        def show(hashed: bytes) -> dict[str, Any]:
            return {"sum": written(hashed, form)}

        return item_response(body.batch_input, answers, show, failed={})


def _to_hash(item: HashItem | HashBody) -> bytes:
    if item.input is None:
        raise InvalidRequestError("input missing")
    return decode_base64(item.input, field="input")

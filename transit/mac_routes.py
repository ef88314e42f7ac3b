"""hmac and cmac: field names, base64, batches, and the shape of answers."""

from collections.abc import Sequence

from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from transit.batch import check_size, item_response, run_batch
from transit.format import decode_base64
from transit.macs import CMAC, CMAC_BYTES, Mac, MacMaker, MacMethod, check_mac_input, hmac_method
from transit.names import key_in_path
from transit.parts import Parts
from transit.signature_bodies import CmacBody, HmacBody, MacItem
from transit.signature_format import format_tagged
from transit.store import OpenKey

_NO_KEY = "encryption key not found"


class MacRoutes:
    """What a key authenticates."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._macs = MacMaker(parts.store, parts.keys)

    def routes(self) -> list[Route]:
        """Below the mount."""
        hmac = Method(handler=self._hmac, body=HmacBody, mutates=False, summary="Make an HMAC")
        cmac = Method(handler=self._cmac, body=CmacBody, mutates=False, summary="Make a CMAC")
        return [
            *(
                Route(
                    pattern=pattern,
                    methods={Operation.UPDATE: hmac},
                    help="The HMAC of base64 input; every key can make one, with a key of its own for that.",
                )
                for pattern in ("hmac/{name}", "hmac/{name}/{algorithm}")
            ),
            *(
                Route(
                    pattern=pattern,
                    methods={Operation.UPDATE: cmac},
                    help="The CMAC of base64 input by a key of type aes256-cmac.",
                )
                for pattern in ("cmac/{name}", "cmac/{name}/{mac_length}")
            ),
        ]

    async def _hmac(self, request: Request, body: HmacBody) -> Response:
        name = request.params["name"]
        key = self._store.peek(name) or await key_in_path(self._store, request, otherwise=_NO_KEY)
        method = hmac_method(request.params.get("algorithm") or body.algorithm)
        if body.batch_input is None:
            message = read_mac_input(body.input, missing="missing input for HMAC")
            return Response(
                data={"hmac": format_tagged(*await self._macs.make_one(key, method, body.key_version, message))}
            )

        return await self._batch(key, method, body.key_version, body.batch_input)

    async def _cmac(self, request: Request, body: CmacBody) -> Response:
        key = await key_in_path(self._store, request, otherwise=_NO_KEY)
        in_path = _length_in_path(request)
        length = cmac_length(body.mac_length if in_path is None else in_path)
        if body.batch_input is not None:
            return await self._batch(key, CMAC, body.key_version, body.batch_input, mac_length=length)
        message = read_mac_input(body.input, missing="missing input for CMAC")
        version, mac = await self._macs.make_one(key, CMAC, body.key_version, message)
        return Response(data={"cmac": format_tagged(version, mac[: length or None])})

    async def _batch(
        self, key: OpenKey, method: MacMethod, requested: int, items: Sequence[MacItem], *, mac_length: int = 0
    ) -> Response:
        """An item of a CMAC may say its own length."""
        check_size(items)
        missing = f"missing input for {method.what}"

        def parse(item: MacItem) -> tuple[bytes, int]:
            own = item.mac_length if method is CMAC else None
            return read_mac_input(item.input, missing=missing), mac_length if own is None else cmac_length(own)

        async def run(parsed: list[tuple[bytes, int]]) -> list[Mac]:
            made = await self._macs.make(key, method, requested, [message for message, _ in parsed])
            return [(version, mac[: length or None]) for (version, mac), (_, length) in zip(made, parsed, strict=True)]

        answers = await run_batch(items, parse, run)
        return item_response(items, answers, lambda mac: {method.what.lower(): format_tagged(*mac)}, failed={})


def read_mac_input(text: str | None, *, missing: str) -> bytes:
    """The message of a MAC. Raises InvalidRequestError, with the sentence `missing` where there is none."""
    if text is None:
        raise InvalidRequestError(missing)
    message = decode_base64(text, field="input")
    check_mac_input(message)
    return message


def cmac_length(length: int) -> int:
    """How many bytes of a CMAC are wanted; 0: all. Raises InvalidRequestError."""
    if not 0 <= length <= CMAC_BYTES:
        raise InvalidRequestError(
            f"mac_length is 0 (for all) to {CMAC_BYTES} bytes: it cannot be larger than the cipher's block size"
        )
    return length


def _length_in_path(request: Request) -> int | None:
    text = request.params.get("mac_length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequestError("the mac_length in the path must be a whole number")
    return int(text)

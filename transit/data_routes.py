"""encrypt, decrypt, rewrap and datakey: field names, base64, batches, and the shape of answers."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from core.engine import Handler, Method, Route
from core.errors import CallerError, InvalidRequestError
from core.protocols import AeadInput
from core.random_bytes import draw_pieces
from core.requests import Operation, Request, Response
from transit.batch import batch_response, check_batch, check_size, item_response, run_batch
from transit.bodies import BatchItem, DataBody
from transit.engine import Versioned, check_payload
from transit.format import decode_base64, encode_base64, format_ciphertext, parse_ciphertext
from transit.key_types import key_type
from transit.lifecycle import NewKey
from transit.names import is_key_name, key_name
from transit.parts import Parts
from transit.plain_batch import decrypt_plain, encrypt_plain
from transit.store import OpenKey

AnswerT = TypeVar("AnswerT")

_DATA_KEY_BITS = (128, 256, 512)


class DataRoutes:
    """What a key does to data."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine
        self._lifecycle = parts.lifecycle
        self._keys = parts.keys
        self._counters = parts.counters

    def routes(self) -> list[Route]:
        """Below the mount."""
        write = Operation.UPDATE

        def data(handler: Handler, summary: str) -> Method:
            return Method(handler=handler, body=DataBody, mutates=False, summary=summary)

        return [
            Route(
                pattern="encrypt/{name}",
                methods={
                    Operation.CREATE: Method(handler=self._upsert, body=DataBody, summary="Encrypt with a new key"),
                    write: data(self._encrypt, "Encrypt data"),
                },
                exists=self._exists,
                help="Encrypts base64 plaintext; a key that does not exist is created where the policy allows create.",
            ),
            Route(
                pattern="decrypt/{name}",
                methods={write: data(self._decrypt, "Decrypt data")},
                help="Decrypts a ciphertext of this key.",
            ),
            Route(
                pattern="rewrap/{name}",
                methods={write: data(self._rewrap, "Encrypt under a newer version")},
                help="Encrypts a ciphertext again under the latest version, without showing the plaintext.",
            ),
            Route(
                pattern="datakey/{form}/{name}",
                methods={write: data(self._data_key, "Make a data key")},
                help="A new key from the HSM's generator, encrypted under this one; `plaintext` shows it, too.",
            ),
        ]

    # --- encrypt ------------------------------------------------------------------------------------------------------

    async def _exists(self, request: Request) -> bool:
        name = request.params["name"]
        if self._store.peek(name) is not None:
            return True
        return is_key_name(name) and await self._store.find(name) is not None

    async def _upsert(self, request: Request, body: DataBody) -> Response:
        items: Sequence[BatchItem | DataBody] = [body] if body.batch_input is None else body.batch_input
        if body.batch_input is None:
            _to_encrypt(body)
        else:
            check_batch(body.batch_input, needs="plaintext", purpose="encrypt")
        name = key_name(request)
        config = await self._store.config()
        if config.disable_upsert:
            return await self._encrypt(request, body)
        new = NewKey(
            key_type=key_type(body.type, parameter_set=body.parameter_set),
            derived=any(item.context for item in items),
            convergent=body.convergent_encryption,
            required_custody=config.require_custody,
        )
        if not new.key_type.supports_encryption:
            raise InvalidRequestError(f"a key of type {new.key_type.name} does not encrypt")
        _, created = await self._lifecycle.create(name, new)
        response = await self._encrypt(request, body)
        if not created:
            response.warnings = [
                *(response.warnings or ()),
                "Attempted creation of the key during the encrypt operation, but it was created beforehand",
            ]
        return response

    async def _encrypt(self, request: Request, body: DataBody) -> Response:
        if body.batch_input is None:
            known = self._store.peek(request.params["name"])
            if known is None:
                name = key_name(request)
                item = _to_encrypt(body)  # what is wrong with the request is said before that there is no such key
                known = await self._store.open(name)
            else:
                item = _to_encrypt(body)
            answer = await self._engine.encrypt_one(known, item)
            return self._warned(Response(data=_show_ciphertext(answer)), known.name, (answer,))

        name = self._known_name(request)
        check_batch(body.batch_input, needs="plaintext", purpose="encrypt")
        quick = await encrypt_plain(self._engine, await self._store.open(name), body.batch_input)
        if quick is not None:
            response = Response(data={"batch_results": quick})
            return self._warned(response, name, ((quick[0]["key_version"], b""),))
        answers = await run_batch(body.batch_input, _to_encrypt, lambda items: self._engine.encrypt(name, items))
        response = batch_response(
            body.batch_input,
            answers,
            _show_ciphertext,
            empty={},
            partial_failure_response_code=body.partial_failure_response_code,
        )
        return self._warned(response, name, answers)

    def _warned(self, response: Response, name: str, answers: Iterable[tuple[int, bytes] | CallerError]) -> Response:
        """The response, with a warning when a version that encrypted is near its limit."""
        if self._counters.warnings:
            versions = (answer[0] for answer in answers if not isinstance(answer, CallerError))
            if near := self._counters.warnings_of(name, versions):
                response.warnings = [*(response.warnings or ()), *near]
        return response

    # --- decrypt ------------------------------------------------------------------------------------------------------

    async def _decrypt(self, request: Request, body: DataBody) -> Response:
        if body.batch_input is None:
            known = self._store.peek(request.params["name"])
            if known is None:
                name = key_name(request)
                _check_ciphertext(body)
                known = await self._store.open(name)
            item = _to_decrypt(body, known)
            return Response(data=_show_plaintext(await self._engine.decrypt_one(known, item)))

        check_batch(body.batch_input, needs="ciphertext", purpose="decrypt")
        key = await self._store.open(self._known_name(request))
        quick = await decrypt_plain(self._engine, key, body.batch_input)
        if quick is not None:
            return Response(data={"batch_results": quick})
        answers = await run_batch(
            body.batch_input,
            lambda item: _to_decrypt(item, key),
            lambda items: self._engine.decrypt(key.name, items),
        )
        return batch_response(
            body.batch_input,
            answers,
            _show_plaintext,
            empty={"plaintext": ""},
            partial_failure_response_code=body.partial_failure_response_code,
        )

    async def _rewrap(self, request: Request, body: DataBody) -> Response:
        items: Sequence[BatchItem | DataBody] = [body] if body.batch_input is None else body.batch_input
        if body.batch_input is None:
            _check_ciphertext(body)
        else:
            check_size(body.batch_input)
        key = await self._store.open(self._known_name(request))

        def parse(item: BatchItem | DataBody) -> tuple[Versioned, int]:
            return _to_decrypt(item, key), item.key_version or 0

        async def run(parsed: list[tuple[Versioned, int]]) -> list[tuple[int, bytes] | CallerError]:
            return await self._engine.rewrap(
                key.name, [item for item, _ in parsed], key_versions=[version for _, version in parsed]
            )

        answers = await run_batch(items, parse, run)
        if body.batch_input is None:
            return self._warned(Response(data=_show_ciphertext(_or_raise(answers[0]))), key.name, answers)
        response = item_response(body.batch_input, answers, _show_ciphertext, failed={})
        return self._warned(response, key.name, answers)

    # --- data keys ----------------------------------------------------------------------------------------------------

    async def _data_key(self, request: Request, body: DataBody) -> Response:
        form = request.params["form"]
        if form not in {"plaintext", "wrapped"}:
            raise InvalidRequestError('invalid path, must be "plaintext" or "wrapped"')
        name = self._known_name(request)
        items: Sequence[BatchItem | DataBody] = [body] if body.batch_input is None else body.batch_input
        check_size(items)

        warned: list[tuple[int, bytes] | CallerError] = []

        async def run(parsed: list[tuple[int, Versioned]]) -> list[dict[str, Any] | CallerError]:
            made = await draw_pieces(self._keys, source="hsm", lengths=[size for size, _ in parsed])
            sealed = await self._engine.encrypt(
                name,
                [
                    (version, AeadInput(octets, template.associated_data, template.context))
                    for octets, (_, (version, template)) in zip(made, parsed, strict=True)
                ],
            )
            warned.extend(sealed)
            return [
                answer
                if isinstance(answer, CallerError)
                else _show_data_key(answer, octets if form == "plaintext" else None)
                for answer, octets in zip(sealed, made, strict=True)
            ]

        answers = await run_batch(items, _to_make, run)
        if body.batch_input is None:
            return self._warned(Response(data=_or_raise(answers[0])), name, warned)
        response = batch_response(
            body.batch_input,
            answers,
            lambda shown: shown,
            empty={},
            partial_failure_response_code=body.partial_failure_response_code,
        )
        return self._warned(response, name, warned)

    def _known_name(self, request: Request) -> str:
        """The name in the path; a key in memory has been through the check."""
        name = request.params["name"]
        return name if self._store.peek(name) is not None else key_name(request)


def _to_encrypt(item: BatchItem | DataBody) -> Versioned:
    if item.plaintext is None:
        raise InvalidRequestError("missing plaintext to encrypt")
    plaintext = decode_base64(item.plaintext, field="plaintext")
    check_payload(plaintext, field="plaintext")
    if item.associated_data or item.context or item.nonce:
        return item.key_version or 0, AeadInput(plaintext, *_bound_to(item))
    return item.key_version or 0, AeadInput(plaintext)


def _to_decrypt(item: BatchItem | DataBody, key: OpenKey) -> Versioned:
    if not item.ciphertext:
        raise InvalidRequestError("missing ciphertext to decrypt")
    version, sealed = parse_ciphertext(item.ciphertext, imported=key.keyring.imported)
    check_payload(sealed, field="ciphertext", overhead=key.overhead)
    if item.associated_data or item.context or item.nonce:
        return version, AeadInput(sealed, *_bound_to(item))
    return version, AeadInput(sealed)


def _to_make(item: BatchItem | DataBody) -> tuple[int, Versioned]:
    """Bytes of the data key, and under what it is encrypted."""
    bits = 256 if item.bits is None else item.bits
    if bits not in _DATA_KEY_BITS:
        raise InvalidRequestError("invalid bit length; bits must be 128, 256 or 512")
    return bits // 8, (item.key_version or 0, AeadInput(b"", *_bound_to(item)))


def _bound_to(item: BatchItem | DataBody) -> tuple[bytes, bytes]:
    """Associated data and context."""
    if item.nonce:
        raise InvalidRequestError("provided nonce not allowed for this key: Mimir makes every nonce itself")
    associated_data = decode_base64(item.associated_data or "", field="associated_data")
    check_payload(associated_data, field="associated_data")
    context = decode_base64(item.context or "", field="context")
    check_payload(context, field="context")
    return associated_data, context


def _check_ciphertext(item: BatchItem | DataBody) -> None:
    """Whether there is one, and it looks like one, before the key is looked for."""
    if not item.ciphertext:
        raise InvalidRequestError("missing ciphertext to decrypt")
    parse_ciphertext(item.ciphertext, imported=True)


def _show_ciphertext(answer: tuple[int, bytes]) -> dict[str, Any]:
    return {"ciphertext": format_ciphertext(*answer), "key_version": answer[0]}


def _show_plaintext(plaintext: bytes) -> dict[str, Any]:
    return {"plaintext": encode_base64(plaintext)}


def _show_data_key(answer: tuple[int, bytes], plaintext: bytes | None) -> dict[str, Any]:
    shown = _show_ciphertext(answer)
    return shown if plaintext is None else {"plaintext": encode_base64(plaintext), **shown}


def _or_raise(answer: AnswerT | CallerError) -> AnswerT:
    if isinstance(answer, CallerError):
        raise answer
    return answer

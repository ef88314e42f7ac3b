"""Transit over Vault's API: field names, base64, batches, and the shape of answers."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from core.engine import Engine, EngineContext, Handler, Method, NoBody, Route
from core.errors import CallerError, InvalidRequestError, KeyPolicyError, NotFoundError
from core.protocols import AeadInput, Custody
from core.requests import NO_CONTENT, Operation, Request, Response
from transit.batch import batch_response, check_batch, run_batch
from transit.bodies import BatchItem, ConfigureKeyBody, CreateKeyBody, DataBody
from transit.engine import TransitEngine, Versioned, check_payload
from transit.format import decode_base64, encode_base64, format_ciphertext, parse_ciphertext
from transit.key_types import key_type
from transit.keyring import ConfigChange
from transit.store import OpenKey

AnswerT = TypeVar("AnswerT")

_NAME = re.compile(r"\w(?:[\w.-]{0,254}\w)?", re.ASCII)
_SEALED_OVERHEAD = 28  # nonce and tag
_NO_DERIVATION = "derived keys are not available, so context, nonce and convergent_encryption must be left out"


def create(context: EngineContext) -> Engine:
    """The entry point `transit`."""
    return TransitRoutes(TransitEngine(context.storage, context.keys, context.clock))


class TransitRoutes:
    """The routes of one mount."""

    def __init__(self, engine: TransitEngine) -> None:
        self._engine = engine
        self.routes: Sequence[Route] = self._routes()

    async def close(self) -> None:
        """Give back reserved encryptions."""
        await self._engine.close()

    def _routes(self) -> list[Route]:
        read, write, create_ = Operation.READ, Operation.UPDATE, Operation.CREATE

        def data(handler: Handler, summary: str) -> Method:
            return Method(handler=handler, body=DataBody, mutates=False, summary=summary)

        return [
            Route(
                pattern="keys",
                methods={Operation.LIST: Method(handler=self._list, mutates=False, summary="Names of the keys")},
                help="The keys of this mount.",
            ),
            Route(
                pattern="keys/{name}",
                methods={
                    write: Method(handler=self._create, body=CreateKeyBody, summary="Create a key"),
                    read: Method(handler=self._read, mutates=False, summary="Configuration and versions of a key"),
                    Operation.DELETE: Method(handler=self._delete, summary="Destroy a key"),
                },
                help="A named key. Its type is fixed when it is created; it never leaves Mimir.",
            ),
            Route(
                pattern="keys/{name}/config",
                methods={write: Method(handler=self._configure, body=ConfigureKeyBody, summary="Configure a key")},
                help="Which versions encrypt and decrypt, and whether the key may be deleted.",
            ),
            Route(
                pattern="keys/{name}/rotate",
                methods={write: Method(handler=self._rotate, body=NoBody, summary="Add a version to a key")},
                help="New data is encrypted under the new version; old ciphertexts still decrypt.",
            ),
            Route(
                pattern="encrypt/{name}",
                methods={
                    create_: Method(handler=self._create_and_encrypt, body=DataBody, summary="Encrypt with a new key"),
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
        ]

    # --- keys -----------------------------------------------------------------------------------------------------

    async def _list(self, request: Request, _body: NoBody) -> Response:
        names = await self._engine.store.names(after=request.query.get("after", ""), limit=_limit(request))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def _create(self, request: Request, body: CreateKeyBody) -> Response:
        _check_new_key(body)
        name = _name(request)
        key, created = await self._engine.create_key(name, key_type(body.type))
        warnings = None if created else [f"key {name} already existed"]
        return Response(data=await self._describe(key), warnings=warnings)

    async def _read(self, request: Request, _body: NoBody) -> Response:
        key = await self._engine.store.find(_name(request))
        if key is None:
            raise NotFoundError("")
        return Response(data=await self._describe(key))

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._engine.delete_key(_name(request))
        return NO_CONTENT

    async def _rotate(self, request: Request, _body: NoBody) -> Response:
        return Response(data=await self._describe(await self._engine.rotate_key(_name(request))))

    async def _configure(self, request: Request, body: ConfigureKeyBody) -> Response:
        _check_export(exportable=body.exportable, backup=body.allow_plaintext_backup)
        _check_no_auto_rotation(body.auto_rotate_period)
        change = ConfigChange(
            min_decryption_version=body.min_decryption_version,
            min_encryption_version=body.min_encryption_version,
            deletion_allowed=body.deletion_allowed,
        )
        key = await self._engine.configure_key(_name(request), change)
        warnings = ["key versions start at 1; forcing the minimum to 1"] if body.min_decryption_version == 0 else None
        return Response(data=await self._describe(key), warnings=warnings)

    async def _describe(self, key: OpenKey) -> dict[str, Any]:
        """A key as Vault shows it, and what is Mimir's own: custody and usage."""
        keyring, row = key.keyring, key.keyring.key_type
        usable = {v: i for v, i in sorted(keyring.versions.items()) if v >= keyring.min_decryption_version}
        usage = await self._engine.usage(key)
        return {
            "name": key.name,
            "type": keyring.type,
            "latest_version": keyring.latest_version,
            "min_available_version": keyring.min_available_version,
            "min_decryption_version": keyring.min_decryption_version,
            "min_encryption_version": keyring.min_encryption_version,
            "deletion_allowed": keyring.deletion_allowed,
            "derived": False,
            "exportable": False,
            "allow_plaintext_backup": False,
            "auto_rotate_period": 0,
            "imported_key": keyring.imported,
            "supports_encryption": row.supports_encryption,
            "supports_decryption": row.supports_decryption,
            "supports_derivation": row.supports_derivation,
            "supports_signing": row.supports_signing,
            "keys": {str(version): info.created_at for version, info in usable.items()},
            "custody": keyring.custody.value,
            "usage": {str(version): usage[version] for version in usable},  # encryptions
        }

    # --- data -----------------------------------------------------------------------------------------------------

    async def _exists(self, request: Request) -> bool:
        name = request.params["name"]
        if self._engine.store.peek(name) is not None:
            return True
        return _NAME.fullmatch(name) is not None and await self._engine.store.find(name) is not None

    async def _create_and_encrypt(self, request: Request, body: DataBody) -> Response:
        if body.batch_input is None:
            _to_encrypt(body)
        else:
            check_batch(body.batch_input, needs="plaintext", purpose="encrypt")
        _check_no_derivation(body.convergent_encryption)
        _, created = await self._engine.create_key(_name(request), key_type(body.type))
        response = await self._encrypt(request, body)
        if not created:
            response.warnings = [
                *(response.warnings or ()),
                "Attempted creation of the key during the encrypt operation, but it was created beforehand",
            ]
        return response

    async def _encrypt(self, request: Request, body: DataBody) -> Response:
        if body.batch_input is None:
            known = self._engine.store.peek(request.params["name"])
            name = known.name if known else _name(request)
            item = _to_encrypt(body)
            key = known or await self._engine.open_key(name)
            return Response(data=_show_ciphertext(await self._engine.encrypt_one(key, item)))

        name = self._known_name(request)
        check_batch(body.batch_input, needs="plaintext", purpose="encrypt")
        answers = await run_batch(body.batch_input, _to_encrypt, lambda items: self._engine.encrypt(name, items))
        return batch_response(
            body.batch_input,
            answers,
            _show_ciphertext,
            empty={},
            partial_failure_response_code=body.partial_failure_response_code,
        )

    async def _decrypt(self, request: Request, body: DataBody) -> Response:
        if body.batch_input is None:
            known = self._engine.store.peek(request.params["name"])
            name = known.name if known else _name(request)
            item = _to_decrypt(body)
            key = known or await self._engine.open_key(name)
            return Response(data=_show_plaintext(await self._engine.decrypt_one(key, item)))

        name = self._known_name(request)
        check_batch(body.batch_input, needs="ciphertext", purpose="decrypt")
        answers = await run_batch(body.batch_input, _to_decrypt, lambda items: self._engine.decrypt(name, items))
        return batch_response(
            body.batch_input,
            answers,
            _show_plaintext,
            empty={"plaintext": ""},
            partial_failure_response_code=body.partial_failure_response_code,
        )

    async def _rewrap(self, request: Request, body: DataBody) -> Response:
        name = self._known_name(request)

        async def run(items: list[tuple[Versioned, int]]) -> list[tuple[int, bytes] | CallerError]:
            return await self._engine.rewrap(
                name, [item for item, _ in items], key_versions=[version for _, version in items]
            )

        if body.batch_input is None:
            [answer] = await run([_to_rewrap(body)])
            return Response(data=_show_ciphertext(_or_raise(answer)))
        check_batch(body.batch_input, needs="ciphertext", purpose="decrypt")
        answers = await run_batch(body.batch_input, _to_rewrap, run)
        return batch_response(
            body.batch_input,
            answers,
            _show_ciphertext,
            empty={},
            partial_failure_response_code=body.partial_failure_response_code,
        )

    def _known_name(self, request: Request) -> str:
        """The name in the path; a key in memory has been through the check."""
        name = request.params["name"]
        return name if self._engine.store.peek(name) is not None else _name(request)


def _name(request: Request) -> str:
    """The name in the path, if a key may be called that."""
    name = request.params["name"]
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            "a key's name is 1 to 256 letters, digits, '_', '-' and '.'; it does not begin or end with '-' or '.'"
        )
    return name


def _limit(request: Request) -> int:
    text = request.query.get("limit") or "0"
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise InvalidRequestError("limit must be a whole number")
    return max(0, int(text))


def _check_new_key(body: CreateKeyBody) -> None:
    row = key_type(body.type)
    _check_no_derivation(body.derived or body.convergent_encryption)
    _check_export(exportable=body.exportable, backup=body.allow_plaintext_backup)
    _check_no_auto_rotation(body.auto_rotate_period)
    if body.key_size:
        raise InvalidRequestError(f"key_size is not valid for algorithm {row.name}")


def _check_no_derivation(asked: bool | str | None) -> None:
    if asked:
        raise InvalidRequestError(_NO_DERIVATION)


def _check_export(*, exportable: bool, backup: bool) -> None:
    if exportable or backup:
        what = "exportable" if exportable else "allow_plaintext_backup"
        raise KeyPolicyError(
            f"{what} is refused: a key with {Custody.HSM.value} custody is made inside the HSM and cannot leave it"
        )


def _check_no_auto_rotation(period: int) -> None:
    if period:
        raise InvalidRequestError("auto_rotate_period must be 0: rotate the key by POST to keys/<name>/rotate")


def _to_encrypt(item: BatchItem | DataBody) -> Versioned:
    if item.plaintext is None:
        raise InvalidRequestError("missing plaintext to encrypt")
    _check_no_derivation(item.context or item.nonce)
    plaintext = decode_base64(item.plaintext, field="plaintext")
    check_payload(plaintext, field="plaintext")
    return item.key_version or 0, AeadInput(plaintext, _associated_data(item))


def _to_decrypt(item: BatchItem | DataBody) -> Versioned:
    if not item.ciphertext:
        raise InvalidRequestError("missing ciphertext to decrypt")
    _check_no_derivation(item.context or item.nonce)
    version, sealed = parse_ciphertext(item.ciphertext)
    check_payload(sealed, field="ciphertext", overhead=_SEALED_OVERHEAD)
    return version, AeadInput(sealed, _associated_data(item))


def _to_rewrap(item: BatchItem | DataBody) -> tuple[Versioned, int]:
    return _to_decrypt(item), item.key_version or 0


def _associated_data(item: BatchItem | DataBody) -> bytes:
    if not item.associated_data:
        return b""
    octets = decode_base64(item.associated_data, field="associated_data")
    check_payload(octets, field="associated_data")
    return octets


def _show_ciphertext(answer: tuple[int, bytes]) -> dict[str, Any]:
    return {"ciphertext": format_ciphertext(*answer), "key_version": answer[0]}


def _show_plaintext(plaintext: bytes) -> dict[str, Any]:
    return {"plaintext": encode_base64(plaintext)}


def _or_raise(answer: AnswerT | CallerError) -> AnswerT:
    if isinstance(answer, CallerError):
        raise answer
    return answer

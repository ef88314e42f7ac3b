"""Keys of issuers: list, read, name, delete. They are made and imported elsewhere."""

from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec.structs import replace

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response
from pki.authority import DEFAULT, Authority, CaKey
from pki.parts import Parts
from pki.reference_names import check_key_name
from pki.store import AuthorityChange

_UNNAMED = "Name successfully deleted, you will now need to reference this key by it's Id: "


class KeyBody(msgspec.Struct, kw_only=True):
    """Its new name."""

    key_name: str = ""


class DefaultKeyBody(msgspec.Struct, kw_only=True):
    """Which key is the default."""

    default: str = ""


class KeyRoutes:
    """A key goes for good, so one that an issuer has is refused: it would sign nothing any more, nor its CRLs."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="keys",
                methods={Operation.LIST: Method(handler=self._list, mutates=False, summary="Keys")},
            ),
            Route(
                pattern="key/{key_ref}",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="A key; never its material"),
                    Operation.UPDATE: Method(handler=self._write, body=KeyBody, summary="Name a key"),
                    Operation.DELETE: Method(handler=self._delete, summary="Delete a key for good"),
                },
            ),
            Route(
                pattern="config/keys",
                methods={
                    Operation.READ: Method(handler=self._read_default, mutates=False, summary="The default key"),
                    Operation.UPDATE: Method(handler=self._write_default, body=DefaultKeyBody, summary="Choose it"),
                },
            ),
        ]

    async def _list(self, _request: Request, _body: NoBody) -> Response:
        authority = await self._store.authority()
        if not authority.keys:
            raise NotFoundError("")
        info = {
            key_id: {"is_default": key_id == authority.index.default_key, "key_name": key.name}
            for key_id, key in authority.keys.items()
        }
        return Response(data={"keys": sorted(info), "key_info": info})

    async def _read(self, request: Request, _body: NoBody) -> Response:
        return Response(data=key_data((await self._store.authority()).key(request.params["key_ref"])))

    async def _write(self, request: Request, body: KeyBody) -> Response:
        async def work(change: AuthorityChange) -> CaKey:
            key = change.before.key(request.params["key_ref"])
            check_key_name(body.key_name, change.before, but=key.key_id)
            renamed = replace(key, name=body.key_name)
            await change.put_key(renamed)
            return renamed

        key = await self._store.change_authority(work)
        data = key_data(key)
        warnings = None if key.name else [f"{_UNNAMED}{key.key_id}"]
        shown = {name: data[name] for name in ("key_id", "key_name", "key_type", "custody")}
        return Response(data=shown, warnings=warnings)

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        async def work(change: AuthorityChange) -> str:
            try:
                key = change.before.key(request.params["key_ref"])
            except NotFoundError:
                return ""
            _check_unused(key, change.before)
            await change.delete_key(key.key_id)
            return key.key_id if change.before.index.default_key == key.key_id else ""

        default = await self._store.change_authority(work)
        return Response(warnings=[_gone(default, request.params["key_ref"])]) if default else NO_CONTENT

    async def _read_default(self, _request: Request, _body: NoBody) -> Response:
        return Response(data={"default": (await self._store.authority()).index.default_key})

    async def _write_default(self, _request: Request, body: DefaultKeyBody) -> Response:
        if not body.default or body.default == DEFAULT:
            raise InvalidRequestError("Invalid key specification; must be non-empty and can't be 'default'.")

        async def work(change: AuthorityChange) -> str:
            try:
                key = change.before.key(body.default)
            except NotFoundError:
                raise InvalidRequestError(
                    f"there is no key {body.default[:64]!r}, so it cannot be the default"
                ) from None
            change.set_index(replace(change.index, default_key=key.key_id))
            return key.key_id

        return Response(data={"default": await self._store.change_authority(work)})


def _check_unused(key: CaKey, authority: Authority) -> None:
    users = [issuer.issuer_id for issuer in authority.issuers.values() if issuer.row.key_id == key.key_id]
    if users:
        raise InvalidRequestError(
            f"Failed to Delete Key.  Key in Use by Issuer: {', '.join(users)}. Delete the issuer first"
        )


def _gone(key_id: str, reference: str) -> str:
    return (
        f"Deleted key {key_id} (via key_ref {reference}); this was configured as the default key. Operations without an"
        " explicit key will not work until a new default is configured."
    )


def key_data(key: CaKey) -> dict[str, Any]:
    """As Vault answers it, where the key is, and of what kind exactly."""
    return {
        "key_id": key.key_id,
        "key_name": key.name,
        "key_type": key.key.kind.value.partition("-")[0] if key.key.kind.value[:2] != "ml" else "ml-dsa",
        "kind": key.key.kind.value,
        "custody": key.key.custody.value,
        "subject_key_id": _subject_key_id(key),
    }


def _subject_key_id(key: CaKey) -> str:
    """SHA-1 of the key's bits (RFC 5280, 4.2.1.2, method 1), in hex with colons."""
    if key.key.public_key is None:
        return ""
    public: Any = load_der_public_key(key.key.public_key)
    return x509.SubjectKeyIdentifier.from_public_key(public).digest.hex(":")

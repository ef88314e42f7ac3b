"""The keys themselves over Vault's API: create, read, list, configure, rotate, trim, delete."""

import asyncio
import re
from typing import Any

import msgspec

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import Custody, KeyKind
from core.requests import NO_CONTENT, Operation, Request, Response
from transit.bodies import CacheConfigBody, ConfigureKeyBody, CreateKeyBody, MountConfigBody, TrimBody
from transit.format import decode_base64
from transit.key_types import key_type
from transit.keyring import ConfigChange
from transit.lifecycle import NewKey
from transit.names import key_name
from transit.parts import Parts
from transit.public_form import shown_public_key, shown_version
from transit.store import MountConfig, OpenKey

_LEAST_CACHE = 10  # keys; Vault's
_READS_A_TURN = 64  # version rows, before other requests get their turn


class KeyRoutes:
    """keys/, config/keys and cache-config."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._lifecycle = parts.lifecycle
        self._counters = parts.counters
        self._keys = parts.keys

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [*self._routes_of_keys(), *self._routes_of_the_mount()]

    def _routes_of_keys(self) -> list[Route]:
        read, write, delete = Operation.READ, Operation.UPDATE, Operation.DELETE
        return [
            Route(
                pattern="keys",
                methods={Operation.LIST: Method(handler=self._list, mutates=False, summary="Names of the keys")},
                help="The keys of this mount, by name; `after` and `limit` give a page.",
            ),
            Route(
                pattern="keys/{name}",
                methods={
                    write: Method(handler=self._create, body=CreateKeyBody, summary="Create a key"),
                    read: Method(handler=self._read, mutates=False, summary="Configuration and versions of a key"),
                    delete: Method(handler=self._delete, summary="Destroy a key"),
                },
                help="A named key. Its type is fixed when it is created. In hsm custody it never leaves the HSM.",
            ),
            Route(
                pattern="keys/{name}/config",
                methods={write: Method(handler=self._configure, body=ConfigureKeyBody, summary="Configure a key")},
                help="Which versions encrypt and decrypt, when it rotates, and whether the key may be deleted.",
            ),
            Route(
                pattern="keys/{name}/rotate",
                methods={write: Method(handler=self._rotate, body=NoBody, summary="Add a version to a key")},
                help="New data is encrypted under the new version; old ciphertexts still decrypt.",
            ),
            Route(
                pattern="keys/{name}/trim",
                methods={write: Method(handler=self._trim, body=TrimBody, summary="Destroy old versions of a key")},
                help="Versions before min_available_version are gone for good.",
            ),
            Route(
                pattern="keys/{name}/soft-delete",
                methods={delete: Method(handler=self._soft_delete, summary="Put a key out of use")},
                help="The key is refused until it is restored; nothing of it is lost.",
            ),
            Route(
                pattern="keys/{name}/soft-delete-restore",
                methods={write: Method(handler=self._restore, summary="Put a key back to use")},
                help="Undoes soft-delete.",
            ),
        ]

    def _routes_of_the_mount(self) -> list[Route]:
        read, write = Operation.READ, Operation.UPDATE
        return [
            Route(
                pattern="config/keys",
                methods={
                    read: Method(handler=self._read_config, mutates=False, summary="What holds for all keys"),
                    write: Method(handler=self._write_config, body=MountConfigBody, summary="Set it"),
                },
                help="disable_upsert: encrypt creates no keys. require_custody=hsm: no new key outside the HSM.",
            ),
            Route(
                pattern="cache-config",
                methods={
                    read: Method(handler=self._read_cache_size, mutates=False, summary="Size of the cache of keys"),
                    write: Method(handler=self._write_cache_size, body=CacheConfigBody, summary="Set it"),
                },
                help="Kept for Vault's clients, and shown to them; the cache finds its size by itself.",
            ),
        ]

    # --- keys -----------------------------------------------------------------------------------------------------

    async def _list(self, request: Request, _body: NoBody) -> Response:
        names = await self._store.names(after=request.query.get("after", ""), limit=_limit(request))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def _create(self, request: Request, body: CreateKeyBody) -> Response:
        name = key_name(request)
        config = await self._store.config()
        new = NewKey(
            key_type=key_type(body.type, parameter_set=body.parameter_set),
            derived=body.derived,
            convergent=body.convergent_encryption,
            exportable=body.exportable,
            allow_plaintext_backup=body.allow_plaintext_backup,
            auto_rotate_period=body.auto_rotate_period,
            max_encryptions=body.max_encryptions,
            key_size=body.key_size,
            custody=Custody(body.custody) if body.custody else None,
            required_custody=Custody(body.require_custody) if body.require_custody else config.require_custody,
        )
        key, created = await self._lifecycle.create(name, new)
        return Response(data=await self._describe(key), warnings=None if created else [f"key {name} already existed"])

    async def _read(self, request: Request, _body: NoBody) -> Response:
        key = await self._store.find(key_name(request))
        if key is None:
            raise NotFoundError("")
        return Response(data=await self._describe(key, context=request.query.get("context", "")))

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._lifecycle.delete(key_name(request))
        return NO_CONTENT

    async def _rotate(self, request: Request, _body: NoBody) -> Response:
        return Response(data=await self._describe(await self._lifecycle.rotate(key_name(request))))

    async def _trim(self, request: Request, body: TrimBody) -> Response:
        return Response(
            data=await self._describe(await self._lifecycle.trim(key_name(request), body.min_available_version))
        )

    async def _soft_delete(self, request: Request, _body: NoBody) -> Response:
        return await self._set_soft_deleted(key_name(request), True)

    async def _restore(self, request: Request, _body: NoBody) -> Response:
        return await self._set_soft_deleted(key_name(request), False)

    async def _set_soft_deleted(self, name: str, deleted: bool) -> Response:
        before = await self._store.find(name)
        key = await self._lifecycle.set_soft_deleted(name, deleted)
        warnings = None
        if before is not None and before.keyring.soft_deleted is deleted:
            warnings = [f"key was already {'marked as soft deleted' if deleted else 'restored'}"]
        return Response(data=await self._describe(key), warnings=warnings)

    async def _configure(self, request: Request, body: ConfigureKeyBody) -> Response:
        change = ConfigChange(
            min_decryption_version=body.min_decryption_version,
            min_encryption_version=body.min_encryption_version,
            deletion_allowed=body.deletion_allowed,
            exportable=body.exportable,
            allow_plaintext_backup=body.allow_plaintext_backup,
            auto_rotate_period=body.auto_rotate_period,
            max_encryptions=body.max_encryptions,
        )
        key = await self._lifecycle.configure(key_name(request), change)
        warnings = ["key versions start at 1; forcing the minimum to 1"] if body.min_decryption_version == 0 else None
        return Response(data=await self._describe(key), warnings=warnings)

    # --- what holds for all -----------------------------------------------------------------------------------------

    async def _read_config(self, _request: Request, _body: NoBody) -> Response:
        return Response(data=_show_config(await self._store.config()))

    async def _write_config(self, _request: Request, body: MountConfigBody) -> Response:
        changes: dict[str, Any] = {}
        if body.disable_upsert is not None:
            changes["disable_upsert"] = body.disable_upsert
        if body.require_custody is not None:
            changes["require_custody"] = Custody(body.require_custody) if body.require_custody else None
        config = await self._store.change_config(lambda present: msgspec.structs.replace(present, **changes))
        return Response(data=_show_config(config))

    async def _read_cache_size(self, _request: Request, _body: NoBody) -> Response:
        return Response(data={"size": (await self._store.config()).cache_size})

    async def _write_cache_size(self, _request: Request, body: CacheConfigBody) -> Response:
        if body.size != 0 and body.size < _LEAST_CACHE:
            raise InvalidRequestError(f"size must be 0 or a value greater or equal to {_LEAST_CACHE}")
        await self._store.change_config(lambda present: msgspec.structs.replace(present, cache_size=body.size))
        return Response(data={"size": body.size})

    # --- the answer -------------------------------------------------------------------------------------------------

    async def _describe(self, key: OpenKey, *, context: str = "") -> dict[str, Any]:
        """A key as Vault shows it, and what is Mimir's own: custody, usage and the limit of it."""
        keyring, row = key.keyring, key.keyring.key_type
        shown: dict[str, Any] = {
            "name": key.name,
            "type": keyring.type,
            "latest_version": keyring.latest_version,
            "min_available_version": keyring.min_available_version,
            "min_decryption_version": keyring.min_decryption_version,
            "min_encryption_version": keyring.min_encryption_version,
            "deletion_allowed": keyring.deletion_allowed,
            "derived": keyring.derived,
            "exportable": keyring.exportable,
            "allow_plaintext_backup": keyring.allow_plaintext_backup,
            "auto_rotate_period": keyring.auto_rotate_period,
            "imported_key": keyring.imported,
            "soft_deleted": keyring.soft_deleted,
            "supports_encryption": row.supports_encryption,
            "supports_decryption": row.supports_decryption,
            "supports_derivation": row.supports_derivation,
            "supports_signing": row.supports_signing,
            "custody": keyring.custody.value,
        }
        if keyring.imported:
            shown["imported_key_allow_rotation"] = keyring.allow_rotation
        if row.parameter_set:
            shown["parameter_set"] = row.parameter_set
        if row.is_hmac and keyring.key_size:
            shown["key_size"] = keyring.key_size
        if keyring.derived:
            shown["kdf"] = "hkdf_sha256" if keyring.custody is Custody.SEALED else "aes_ecb_encrypt_data"
            shown["convergent_encryption"] = keyring.convergent
            if keyring.convergent:
                shown["convergent_encryption_version"] = -1  # Vault's word for "each version knows"; all are the third
        await self._describe_versions(key, shown, context=context)
        return shown

    async def _describe_versions(self, key: OpenKey, shown: dict[str, Any], *, context: str) -> None:
        keyring, row = key.keyring, key.keyring.key_type
        derivation = decode_base64(context, field="context") if context else b""
        versions: dict[str, Any] = {}
        usage: dict[str, int] = {}
        for count, number in enumerate(keyring.shown_versions):
            version = await self._store.version(key, number)
            if derivation and keyring.derived and row.kind is KeyKind.ED25519 and version.key is not None:
                public_key = await self._keys.derived_public_key(version.key, derivation)
                versions[str(number)] = {
                    **shown_version(row, version),
                    "public_key": shown_public_key(row.kind, public_key),
                }
            else:
                versions[str(number)] = shown_version(row, version) if row.is_asymmetric else version.created_at
            if row.is_cipher and version.key is not None:
                spoken_for = await self._store.usage(key.name, number, version)
                usage[str(number)] = max(0, spoken_for - self._counters.held(version.key.key_id))
            if count % _READS_A_TURN == _READS_A_TURN - 1:
                await asyncio.sleep(0)
        shown["keys"] = versions
        if row.is_cipher:
            shown["usage"] = usage  # encryptions, by version; never too low
            shown["max_encryptions"] = keyring.encryption_limit


def _show_config(config: MountConfig) -> dict[str, Any]:
    return {
        "disable_upsert": config.disable_upsert,
        "require_custody": config.require_custody.value if config.require_custody else "",
    }


def _limit(request: Request) -> int:
    text = request.query.get("limit") or "0"
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise InvalidRequestError("limit must be a whole number")
    return max(0, int(text))

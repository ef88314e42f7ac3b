"""Keys on their way in and out over Vault's API: import, export, backup, restore, and certificates."""

import msgspec

from core.bodies import Duration
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError
from core.protocols import Custody
from core.requests import NO_CONTENT, Operation, Request, Response
from transit.backup import KeyBackups
from transit.bodies import CustodyName, RequiredCustody
from transit.certificates import KeyCertificates
from transit.exporting import KeyExporter
from transit.format import decode_base64
from transit.importing import Imported, KeyImporter, parse_public_key
from transit.key_types import DEFAULT_TYPE, KeyType, key_type
from transit.lifecycle import NewKey
from transit.names import key_name
from transit.parts import Parts
from transit.wrapping_key import WrappingKey, parse_hash_function


class ImportVersionBody(msgspec.Struct):
    """keys/<name>/import_version."""

    ciphertext: str = ""
    public_key: str = ""
    hash_function: str = "SHA256"
    version: int | None = None


class ImportBody(msgspec.Struct):
    """keys/<name>/import. `custody` and `require_custody` are Mimir's own."""

    ciphertext: str = ""
    public_key: str = ""
    hash_function: str = "SHA256"
    type: str = DEFAULT_TYPE
    parameter_set: str = ""
    derived: bool = False
    convergent_encryption: bool = False
    exportable: bool = False
    allow_plaintext_backup: bool = False
    allow_rotation: bool = False
    auto_rotate_period: Duration = Duration(0)
    custody: CustodyName = ""
    require_custody: RequiredCustody = ""


class ExportBody(msgspec.Struct):
    """The query of export/."""

    format: str = ""


class ByokExportBody(msgspec.Struct):
    """The query of byok-export/."""

    hash: str = "SHA256"


class RestoreBody(msgspec.Struct):
    """restore. `custody` is Mimir's own."""

    backup: str = ""
    force: bool = False
    custody: CustodyName = ""


class CsrBody(msgspec.Struct):
    """keys/<name>/csr."""

    version: int = 0
    csr: str = ""


class ChainBody(msgspec.Struct):
    """keys/<name>/set-certificate."""

    certificate_chain: str
    version: int = 0


class TransportRoutes:
    """wrapping_key, keys/<name>/import…, export/, byok-export/, backup/, restore/, csr and set-certificate."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._wrapping = WrappingKey(parts.storage, parts.keys)
        self._importer = KeyImporter(parts.storage, parts.store, parts.keys, parts.clock)
        self._exporter = KeyExporter(parts.store, parts.keys)
        self._backups = KeyBackups(parts.storage, parts.store, parts.keys, parts.clock)
        self._certificates = KeyCertificates(parts.storage, parts.store, parts.keys)

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [*self._ways_in(), *self._ways_out(), *self._certification()]

    def _ways_in(self) -> list[Route]:
        read, write = Operation.READ, Operation.UPDATE
        restore = Method(handler=self._restore, body=RestoreBody, summary="Restore a key from a backup")
        return [
            Route(
                pattern="wrapping_key",
                methods={read: Method(handler=self._read_wrapping_key, summary="Public key to wrap keys for import")},
                help="An RSA-4096 key, made in the HSM when it is first read.",
            ),
            Route(
                pattern="keys/{name}/import",
                methods={write: Method(handler=self._import, body=ImportBody, summary="Import a key")},
                help="A new key from ciphertext (made under wrapping_key) or from a public_key alone.",
            ),
            Route(
                pattern="keys/{name}/import_version",
                methods={
                    write: Method(handler=self._import_version, body=ImportVersionBody, summary="Import a version")
                },
                help="One more version of an imported key, or the private half of a version that lacks it.",
            ),
            Route(pattern="restore", methods={write: restore}, help="Takes backups of Mimir, OpenBao and Vault."),
            Route(pattern="restore/{name}", methods={write: restore}, help="Restores the key under another name."),
        ]

    def _ways_out(self) -> list[Route]:
        read = Operation.READ
        export = Method(handler=self._export, body=ExportBody, mutates=False, summary="Export a key")
        byok = Method(handler=self._byok_export, body=ByokExportBody, mutates=False, summary="Export a key, wrapped")
        backup = Method(handler=self._backup, mutates=False, summary="Back a key up, in clear")
        return [
            Route(pattern="export/{type}/{name}", methods={read: export}, help="All versions that decrypt."),
            Route(pattern="export/{type}/{name}/{version}", methods={read: export}, help="One version, or latest."),
            Route(
                pattern="byok-export/{destination}/{source}",
                methods={read: byok},
                help="A key under the wrapping key of another mount, which was imported as destination.",
            ),
            Route(
                pattern="byok-export/{destination}/{source}/{version}",
                methods={read: byok},
                help="One version of it, or latest.",
            ),
            Route(
                pattern="backup/{name}",
                methods={read: backup},
                help="For keys with allow_plaintext_backup. Whoever has it has the key.",
            ),
        ]

    def _certification(self) -> list[Route]:
        write = Operation.UPDATE
        return [
            Route(
                pattern="keys/{name}/csr",
                methods={
                    write: Method(handler=self._csr, body=CsrBody, mutates=False, summary="Request a certificate")
                },
                help="A CSR signed by the key, with subject and extensions of the template in `csr`.",
            ),
            Route(
                pattern="keys/{name}/set-certificate",
                methods={write: Method(handler=self._set_chain, body=ChainBody, summary="Keep a certificate chain")},
                help="The chain of a certificate for this key, the leaf first.",
            ),
        ]

    # --- in -----------------------------------------------------------------------------------------------------------

    async def _read_wrapping_key(self, _request: Request, _body: NoBody) -> Response:
        return Response(data={"public_key": await self._wrapping.public_key()})

    async def _import(self, request: Request, body: ImportBody) -> Response:
        name = key_name(request)
        row = key_type(body.type, parameter_set=body.parameter_set)
        await self._importer.check_free(name)
        config = await self._store.config()
        new = NewKey(
            key_type=row,
            derived=body.derived,
            convergent=body.convergent_encryption,
            exportable=body.exportable,
            allow_plaintext_backup=body.allow_plaintext_backup,
            auto_rotate_period=body.auto_rotate_period,
            custody=Custody(body.custody) if body.custody else None,
            required_custody=Custody(body.require_custody) if body.require_custody else config.require_custody,
        )
        given = await self._given(row, body)
        await self._importer.import_key(name, new, allow_rotation=body.allow_rotation, given=given)
        return NO_CONTENT

    async def _import_version(self, request: Request, body: ImportVersionBody) -> Response:
        name = key_name(request)
        key = await self._importer.open_imported(name)
        given = await self._given(key.keyring.key_type, body)
        await self._importer.import_version(name, given, number=body.version)
        return NO_CONTENT

    async def _given(self, row: KeyType, body: ImportBody | ImportVersionBody) -> Imported:
        """The key in the body. Raises InvalidRequestError, and CiphertextError with one sentence."""
        if body.ciphertext and body.public_key:
            raise InvalidRequestError("only one of the following fields, ciphertext and public_key, can be set")
        if body.public_key:
            return parse_public_key(row, body.public_key)
        if not body.ciphertext:
            raise InvalidRequestError("give the key as ciphertext (made under wrapping_key), or as public_key in PEM")
        hash_name = parse_hash_function(body.hash_function)
        wrapped = decode_base64(body.ciphertext, field="ciphertext")
        return await self._wrapping.unwrap(wrapped, hash_name=hash_name)

    async def _restore(self, request: Request, body: RestoreBody) -> Response:
        if not body.backup:
            raise InvalidRequestError("'backup' must be supplied")
        custody = Custody(body.custody) if body.custody else None
        name = key_name(request) if "name" in request.params else ""
        await self._backups.restore(body.backup, name=name, force=body.force, custody=custody)
        return NO_CONTENT

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _export(self, request: Request, body: ExportBody) -> Response:
        name, version = key_name(request), request.params.get("version", "")
        key, exported = await self._exporter.export(name, request.params["type"], version=version, form=body.format)
        return Response(data={"name": key.name, "type": key.keyring.type, "keys": exported})

    async def _byok_export(self, request: Request, body: ByokExportBody) -> Response:
        key, exported = await self._exporter.byok_export(
            key_name(request, "destination"),
            key_name(request, "source"),
            version=request.params.get("version", ""),
            hash_name=parse_hash_function(body.hash),
        )
        return Response(data={"name": key.name, "type": key.keyring.type, "keys": exported})

    async def _backup(self, request: Request, _body: NoBody) -> Response:
        return Response(data={"backup": await self._backups.backup(key_name(request))})

    # --- certificates -------------------------------------------------------------------------------------------------

    async def _csr(self, request: Request, body: CsrBody) -> Response:
        key, csr = await self._certificates.create_csr(key_name(request), version=body.version, template=body.csr)
        return Response(data={"name": key.name, "type": key.keyring.type, "csr": csr})

    async def _set_chain(self, request: Request, body: ChainBody) -> Response:
        await self._certificates.set_chain(key_name(request), version=body.version, chain=body.certificate_chain)
        return NO_CONTENT

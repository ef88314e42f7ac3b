"""Issuers and keys from elsewhere: issuers/import, config/ca, intermediate/set-signed, keys/import; keys/generate."""

import asyncio
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from pki.ca_asked import IntermediateBody
from pki.ca_keys import choose_key
from pki.formats import Wanted, private_bytes
from pki.importing import Imported
from pki.key_routes import key_data
from pki.parts import Parts
from pki.pem_bundles import Bundle, parse_bundle
from pki.store import AuthorityChange

_NO_KEYS = "private keys found in the PEM bundle but not allowed by the path; use /issuers/import/bundle"


class BundleBody(msgspec.Struct, kw_only=True):
    """A PEM bundle, by the one name or the other; as `certificate` it has no keys."""

    pem_bundle: str = ""
    certificate: str = ""
    issuer_name: str = ""

    async def parsed(self, *, with_keys: bool) -> Bundle:
        """Raises InvalidRequestError."""
        if self.pem_bundle and self.certificate:
            raise InvalidRequestError("'pem_bundle' and 'certificate' parameters were both provided")
        if not (self.pem_bundle or self.certificate):
            raise InvalidRequestError("'pem_bundle' and 'certificate' parameters were empty")
        bundle = await _parsed(self.pem_bundle or self.certificate)
        if bundle.keys and (self.certificate or not with_keys):
            raise InvalidRequestError(_NO_KEYS)
        return bundle


class KeyImportBody(msgspec.Struct, kw_only=True):
    """One private key."""

    pem_bundle: str = ""
    key_name: str = ""


class ImportRoutes:
    """Private keys go into the HSM where it takes them; none ever comes out again."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            _route("issuers/import/cert", self._import_cert, BundleBody, "Import certificates of CAs"),
            _route("issuers/import/bundle", self._import_bundle, BundleBody, "Import certificates and keys of CAs"),
            _route("config/ca", self._import_bundle, BundleBody, "Import certificates and keys of CAs"),
            _route("intermediate/set-signed", self._set_signed, BundleBody, "Import what was signed elsewhere"),
            _route("keys/import", self._import_key, KeyImportBody, "Import a private key"),
            _route(
                "keys/generate/{exported}", self._generate_key, IntermediateBody, "Make a key without a certificate"
            ),
        ]

    async def _import_cert(self, _request: Request, body: BundleBody) -> Response:
        return await self._take(body, with_keys=False)

    async def _import_bundle(self, _request: Request, body: BundleBody) -> Response:
        return await self._take(body, with_keys=True)

    async def _set_signed(self, _request: Request, body: BundleBody) -> Response:
        response = await self._take(body, with_keys=False)
        if not any((response.data or {})["mapping"].values()):
            sentence = "no key of this mount belongs to the certificate: it can stand in chains, not sign"
            response.warnings = [sentence, *(response.warnings or [])]
        return response

    async def _take(self, body: BundleBody, *, with_keys: bool) -> Response:
        found = await self._parts.importing.take(await body.parsed(with_keys=with_keys), issuer_name=body.issuer_name)
        return _answer(found)

    async def _import_key(self, _request: Request, body: KeyImportBody) -> Response:
        bundle = await _parsed(body.pem_bundle)
        if bundle.certificates or len(bundle.keys) != 1:
            raise InvalidRequestError("keys/import takes one private key and nothing else; use issuers/import/bundle")
        found = await self._parts.importing.take(bundle, key_name=body.key_name)
        [key_id] = found.keys or found.known_keys
        warnings = ["Key already imported, use key/ endpoint to update name."] if found.known_keys else None
        key = (await self._parts.store.authority()).keys[key_id]
        return Response(data=_key_answer(key_data(key)), warnings=warnings)

    async def _generate_key(self, request: Request, body: IntermediateBody) -> Response:
        way = request.params["exported"]
        if way not in {"internal", "exported", "kms"}:
            raise InvalidRequestError('keys are generated "internal" or "exported"')
        parts = self._parts
        authority = await parts.store.authority()
        chosen = await choose_key(way, body, authority, parts.keys, now=int(parts.clock.now()))

        async def work(change: AuthorityChange) -> None:
            await chosen.keep(change)

        await parts.store.change_authority(work)
        data = _key_answer(key_data(chosen.key))
        if chosen.private is not None:
            pem = private_bytes(chosen.private, Encoding.PEM, Wanted())
            data["private_key"] = pem.decode().rstrip("\n")
        return Response(data=data)


async def _parsed(text: str) -> Bundle:
    """In a thread: checking an RSA key takes tens of milliseconds."""
    return await asyncio.to_thread(parse_bundle, text)


def _route(pattern: str, handler: Any, body: type[msgspec.Struct], summary: str) -> Route:
    method = Method(handler=handler, body=body, summary=summary)
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=f"{summary}.")


def _answer(found: Imported) -> Response:
    data: dict[str, Any] = {
        "imported_issuers": found.issuers or None,
        "imported_keys": found.keys or None,
        "existing_issuers": found.known_issuers or None,
        "existing_keys": found.known_keys or None,
        "mapping": found.mapping,
    }
    return Response(data=data, warnings=found.warnings or None)


def _key_answer(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in ("key_id", "key_name", "key_type", "custody")}

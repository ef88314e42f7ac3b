"""revoke, revoke-with-key, issuer/<ref>/revoke, certs/revoked."""

import re

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import rfc3339
from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import CatalogQuery
from core.requests import Operation, Request, Response
from pki.authority import Authority, Issuer
from pki.certificates import CATALOG, State
from pki.issuer_settings import issuer_data
from pki.parts import Parts
from pki.pem_blocks import blocks_of
from pki.pem_bundles import check_readable
from pki.private_keys import LABELS, load_private_key
from pki.revoking import Revoked, Revoking, UnknownCertificateError, is_of_another, signers_of
from pki.serials import format_serial, parse_serial

_PAGE = 1000
_LARGEST = 64 * 1024  # characters of PEM; an ML-DSA-87 certificate has 10,000
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")


class RevokeBody(msgspec.Struct):
    """Either the serial number or the certificate. `reason` is ours: RFC 5280, 5.3.1 has the words."""

    serial_number: str = ""
    certificate: str = ""
    reason: str = "unspecified"


class RevokeWithKeyBody(RevokeBody):
    """The private key shows that the caller is the one whom the certificate is about."""

    private_key: str = ""


class RevokeIssuerBody(msgspec.Struct):
    """Why."""

    reason: str = "unspecified"


class RevokedListBody(msgspec.Struct):
    """A page of the list."""

    after: str = ""
    limit: int = 0


class RevokeRoutes:
    """Revocation by who may, and by who has the key."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._revoking = Revoking(parts.store, parts.clock)

    def routes(self) -> list[Route]:
        """Below the mount."""
        revoke = Method(handler=self._revoke, body=RevokeBody, summary="Revoke a certificate")
        with_key = Method(handler=self._with_key, body=RevokeWithKeyBody, summary="Revoke a certificate by its key")
        issuer = Method(handler=self._revoke_issuer, body=RevokeIssuerBody, summary="Revoke an issuer")
        listed = Method(handler=self._list, body=RevokedListBody, mutates=False, summary="List what is revoked")
        return [
            Route(pattern="revoke", methods={Operation.UPDATE: revoke}, help=_HELP),
            Route(pattern="revoke-with-key", methods={Operation.UPDATE: with_key}, help=_HELP),
            Route(pattern="issuer/{issuer_ref}/revoke", methods={Operation.UPDATE: issuer}),
            Route(pattern="certs/revoked", methods={Operation.LIST: listed}),
        ]

    async def _revoke(self, _request: Request, body: RevokeBody) -> Response:
        if not body.serial_number and not body.certificate:
            raise InvalidRequestError("The serial number or certificate to revoke must be provided.")
        if body.serial_number and body.certificate:
            raise InvalidRequestError("Must provide either the certificate or the serial to revoke; not both.")
        if body.certificate:
            certificate = parse_certificate(body.certificate)
            return _answer(await self._revoking.revoke_certificate(certificate, reason=body.reason))
        return _answer(await self._revoking.revoke(parse_serial(body.serial_number), reason=body.reason))

    async def _with_key(self, request: Request, body: RevokeWithKeyBody) -> Response:
        if not body.private_key:
            raise InvalidRequestError("Must have private key to revoke via the /revoke-with-key path.")
        if body.certificate and not body.serial_number:
            certificate = parse_certificate(body.certificate)
        elif body.serial_number and not body.certificate:
            certificate = await self._stored(parse_serial(body.serial_number))
        else:
            return await self._revoke(request, body)  # which refuses
        _check_key(body.private_key, certificate)
        return await self._revoke(request, body)

    async def _stored(self, serial: str) -> x509.Certificate:
        known = await self._store.certificate(serial)
        if known is None or known.state in (State.INTENDED, State.ABANDONED):
            raise UnknownCertificateError(f"certificate with serial {serial} not found.")
        return x509.load_der_x509_certificate(known.body.certificate)

    async def _revoke_issuer(self, request: Request, body: RevokeIssuerBody) -> Response:
        issuer = await self._revoking.revoke_issuer(request.params["issuer_ref"], reason=body.reason)
        authority = await self._store.authority()
        known = await self._store.certificate(format_serial(issuer.certificate.serial_number))
        warnings = _about_issuer(issuer, authority)
        if known is not None and is_of_another(known, issuer):
            warnings.append("another certificate here has its serial number: no CRL or OCSP answer tells of this one")
        return Response(data=issuer_data(issuer, authority), warnings=warnings or None)

    async def _list(self, _request: Request, body: RevokedListBody) -> Response:
        serials = await self._serials()
        later = [serial for serial in sorted(serials) if serial > body.after]
        if not later:
            raise NotFoundError("")
        return Response(data={"keys": later[: body.limit] if body.limit > 0 else later})

    async def _serials(self) -> list[str]:
        found: list[str] = []
        after = ""
        while True:
            query = CatalogQuery(states=(State.REVOKED,), after=after, limit=_PAGE)
            page = await self._store.storage.find_rows(CATALOG, query)
            found += [row.row_id for row in page.rows]
            after = page.next
            if not after:
                return found


def parse_certificate(pem: str) -> x509.Certificate:
    """A certificate that somebody sent. Raises InvalidRequestError."""
    if len(pem) > _LARGEST:
        raise InvalidRequestError("certificate is too long to be one certificate in PEM")
    if not _PEM.search(pem):
        raise InvalidRequestError("certificate contains no PEM data")
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        check_readable(certificate)
        certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidRequestError("certificate could not be parsed") from None
    return certificate


def rfc3339_seconds(seconds: int) -> str:
    """`2026-11-22T13:02:00Z`: whole seconds, as a certificate's times are."""
    return rfc3339(seconds).replace(".000000", "")


def _check_key(pem: str, certificate: x509.Certificate) -> None:
    if len(pem) > _LARGEST:
        raise InvalidRequestError("private_key is too long to be a key in PEM")
    try:
        key = _private_key(pem)
    except (ValueError, InvalidRequestError):
        raise InvalidRequestError(
            "failed to parse provided private key; it must be in PEM, without a password"
        ) from None
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
        raise InvalidRequestError("provided private key does not match certificate's public key")


def _private_key(pem: str) -> PrivateKeyTypes:
    """The first one of a text. Raises ValueError and InvalidRequestError."""
    found = next((block for block in blocks_of(pem) if block.label in LABELS), None)
    if found is None:
        raise ValueError("no private key")
    return load_private_key(found.der())


def _answer(revoked: Revoked) -> Response:
    if not revoked.revoked_at:
        return Response(warnings=[f"certificate with serial {revoked.serial} already expired; refusing to add to CRL"])
    return Response(
        data={
            "revocation_time": revoked.revoked_at,
            "revocation_time_rfc3339": rfc3339_seconds(revoked.revoked_at),
            "state": "revoked",
        }
    )


def _about_issuer(issuer: Issuer, authority: Authority) -> list[str]:
    """What its revocation does not do by itself."""
    above = [other for other in signers_of(issuer.certificate, authority) if other.row.key_id != issuer.row.key_id]
    found = []
    if issuer.is_self_signed:
        found.append("a root is not on its own CRL: clients must stop trusting it, or a cross-signed one be revoked")
    elif not above:
        found.append("the issuer above it is not in this mount: revoke this certificate there, too")
    if authority.index.default_issuer == issuer.issuer_id:
        found.append("it is the default issuer, and issues nothing any more: choose another one (config/issuers)")
    return found


_HELP = (
    "Revoke by `serial_number` or by `certificate` (PEM), which need not be stored here. `reason` is one of RFC 5280,"
    " 5.3.1. The CRL follows within about a second, unless config/crl says auto_rebuild."
)

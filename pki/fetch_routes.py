"""What anybody may fetch: certificates of issuers and of leaves, as PEM, DER or JSON. It is all public."""

from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.engine import Handler, Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, RawBody, Request, Response
from pki.authority import DEFAULT, Issuer
from pki.certificates import CATALOG, Known, State
from pki.chains import chain_of
from pki.moments import format_moment
from pki.parts import Parts
from pki.serials import parse_serial

_DER, _PEM, _CHAIN = "application/pkix-cert", "application/x-pem-file", "application/pem-certificate-chain"
_MOST = 1000


class ListBody(msgspec.Struct):
    """A page of serial numbers."""

    after: str = ""
    limit: int = 0


class FetchRoutes:
    """None of these asks for a token but the list of all certificates."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            _raw("ca", self._ca_der, "The default issuer's certificate, DER"),
            _raw("ca/pem", self._ca_pem, "The default issuer's certificate, PEM"),
            _raw("ca_chain", self._ca_chain, "The default issuer's chain, PEM"),
            _raw("cert/ca", self._cert_ca, "The default issuer's certificate"),
            _raw("cert/ca_chain", self._cert_ca_chain, "The default issuer's chain"),
            _raw("cert/ca/raw", self._ca_der, "The default issuer's certificate, DER"),
            _raw("cert/ca/raw/pem", self._ca_pem, "The default issuer's certificate, PEM"),
            _raw("issuer/{issuer_ref}/json", self._issuer_json, "An issuer's certificate and chain"),
            _raw("issuer/{issuer_ref}/der", self._issuer_der, "An issuer's certificate, DER"),
            _raw("issuer/{issuer_ref}/pem", self._issuer_pem, "An issuer's certificate, PEM"),
            _raw("cert/{serial}", self._cert, "A certificate by its serial number"),
            _raw("cert/{serial}/raw", self._cert_der, "A certificate, DER"),
            _raw("cert/{serial}/raw/pem", self._cert_pem, "A certificate, PEM"),
            Route(
                pattern="certs",
                methods={
                    Operation.LIST: Method(
                        handler=self._list, body=ListBody, mutates=False, summary="Serial numbers of all certificates"
                    )
                },
                help="For certificates by name, role or end there is `inventory`.",
            ),
        ]

    # --- issuers ------------------------------------------------------------------------------------------------------

    async def _default(self) -> Issuer | None:
        authority = await self._store.authority()
        return authority.issuers.get(authority.index.default_issuer)

    async def _ca_der(self, _request: Request, _body: NoBody) -> Response:
        issuer = await self._default()
        return _nothing(_DER) if issuer is None else _file(issuer.row.certificate, _DER)

    async def _ca_pem(self, _request: Request, _body: NoBody) -> Response:
        issuer = await self._default()
        return _nothing(_PEM) if issuer is None else _file(_text(issuer), _PEM)

    async def _ca_chain(self, _request: Request, _body: NoBody) -> Response:
        issuer = await self._default()
        if issuer is None:
            return _nothing(_CHAIN)
        chain = chain_of(issuer, await self._store.authority())
        return _file(b"".join(_text(member) for member in chain), _CHAIN)

    async def _cert_ca(self, _request: Request, _body: NoBody) -> Response:
        return Response(data={"certificate": _text(await self._default_or_raise()).decode(), **_NOT_REVOKED})

    async def _cert_ca_chain(self, _request: Request, _body: NoBody) -> Response:
        issuer = await self._default_or_raise()
        chain = chain_of(issuer, await self._store.authority())
        text = b"".join(_text(member) for member in chain).decode()
        return Response(data={"certificate": text, "ca_chain": text, **_NOT_REVOKED})

    async def _default_or_raise(self) -> Issuer:
        return (await self._store.authority()).issuer(DEFAULT)

    async def _issuer_json(self, request: Request, _body: NoBody) -> Response:
        authority = await self._store.authority()
        issuer = authority.issuer(request.params["issuer_ref"])
        data = {
            "issuer_id": issuer.issuer_id,
            "issuer_name": issuer.row.name,
            "certificate": _text(issuer).decode(),
            "ca_chain": [_text(member).decode() for member in chain_of(issuer, authority)],
        }
        return Response(data=data)

    async def _issuer_der(self, request: Request, _body: NoBody) -> Response:
        return _file((await self._store.authority()).issuer(request.params["issuer_ref"]).row.certificate, _DER)

    async def _issuer_pem(self, request: Request, _body: NoBody) -> Response:
        return _file(_text((await self._store.authority()).issuer(request.params["issuer_ref"])), _PEM)

    # --- certificates -------------------------------------------------------------------------------------------------

    async def _known(self, request: Request) -> Known:
        """One that exists as a certificate. Raises NotFoundError."""
        try:
            serial = parse_serial(request.params["serial"])
        except InvalidRequestError:
            raise NotFoundError("") from None
        known = await self._store.certificate(serial)
        if known is None or known.state in {State.INTENDED, State.ABANDONED}:
            raise NotFoundError("")
        return known

    async def _cert(self, request: Request, _body: NoBody) -> Response:
        known = await self._known(request)
        data: dict[str, Any] = {"certificate": _pem(known), **_NOT_REVOKED}
        if known.body.revoked_at:
            data["revocation_time"] = known.body.revoked_at
            data["revocation_time_rfc3339"] = format_moment(known.body.revoked_at)
        if known.body.issuer_id:
            data["issuer_id"] = known.body.issuer_id
        return Response(data=data)

    async def _cert_der(self, request: Request, _body: NoBody) -> Response:
        return _file((await self._known(request)).body.certificate, _DER)

    async def _cert_pem(self, request: Request, _body: NoBody) -> Response:
        return _file(_pem(await self._known(request)).encode(), _PEM)

    async def _list(self, _request: Request, body: ListBody) -> Response:
        after = parse_serial(body.after) if body.after else ""
        if body.limit < 0:
            raise InvalidRequestError("limit must not be negative")
        serials = await self._store.storage.row_ids(CATALOG, after=after, limit=body.limit)
        if not serials:
            raise NotFoundError("")
        return Response(data={"keys": serials})


_NOT_REVOKED = {"revocation_time": 0, "revocation_time_rfc3339": ""}


def _raw(pattern: str, handler: Handler, summary: str) -> Route:
    method = Method(handler=handler, mutates=False, summary=summary, media_types=(_DER, _PEM, _CHAIN))
    return Route(pattern=pattern, methods={Operation.READ: method}, unauthenticated=True)


def _file(body: bytes, content_type: str) -> Response:
    return Response(raw=RawBody(body=body, content_type=content_type))


def _nothing(content_type: str) -> Response:
    """What Vault answers while there is no issuer."""
    return Response(status=204, raw=RawBody(body=b"", content_type=content_type))


def _text(issuer: Issuer) -> bytes:
    return f"{issuer.pem}\n".encode()


def _pem(known: Known) -> str:
    return x509.load_der_x509_certificate(known.body.certificate).public_bytes(Encoding.PEM).decode()

"""What anybody may fetch: certificates of issuers and of leaves, as PEM, DER or JSON. It is all public."""

from typing import Any

import msgspec

from core.engine import Handler, Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, RawBody, Request, Response
from pki.authority import DEFAULT, Issuer
from pki.cert_list import NO_CERTIFICATE, detail_of, serials
from pki.certificates import Known
from pki.chains import chain_of
from pki.formats import pem_of
from pki.moments import format_moment
from pki.parts import Parts
from pki.serials import parse_serial

_DER, _PEM = "application/pkix-cert", "application/pem-certificate-chain"  # RFC 2585, 4.1; RFC 8555, 9.1
_MOST_DETAILS = 1000


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
            _list("certs", self._list, "Serial numbers of all certificates"),
            _list("certs/detailed", self._list_details, "Certificates by serial number, with what they say"),
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
            return _nothing(_PEM)
        chain = chain_of(issuer, await self._store.authority())
        return _file(b"".join(_text(member) for member in chain), _PEM)

    async def _cert_ca(self, _request: Request, _body: NoBody) -> Response:
        return Response(data={"certificate": (await self._default_or_raise()).pem, **_NOT_REVOKED})

    async def _cert_ca_chain(self, _request: Request, _body: NoBody) -> Response:
        issuer = await self._default_or_raise()
        chain = chain_of(issuer, await self._store.authority())
        text = "\n".join(member.pem for member in chain)
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
        if known is None or known.state in NO_CERTIFICATE:
            raise NotFoundError("")
        return known

    async def _cert(self, request: Request, _body: NoBody) -> Response:
        known = await self._known(request)
        data: dict[str, Any] = {"certificate": pem_of(known.body.certificate), **_NOT_REVOKED}
        if known.body.revoked_at:
            data["revocation_time"] = known.body.revoked_at
            data["revocation_time_rfc3339"] = format_moment(known.body.revoked_at)
        if known.body.issuer_id:
            data["issuer_id"] = known.body.issuer_id
        return Response(data=data)

    async def _cert_der(self, request: Request, _body: NoBody) -> Response:
        return _file((await self._known(request)).body.certificate, _DER)

    async def _cert_pem(self, request: Request, _body: NoBody) -> Response:
        pem = pem_of((await self._known(request)).body.certificate)
        return _file(f"{pem}\n".encode(), _PEM)

    async def _list(self, _request: Request, body: ListBody) -> Response:
        return Response(data={"keys": await self._serials(body, body.limit)})

    async def _list_details(self, _request: Request, body: ListBody) -> Response:
        wanted = min(body.limit or _MOST_DETAILS, _MOST_DETAILS)
        info = {}
        for serial in await self._serials(body, wanted):
            known = await self._store.certificate(serial)
            if known is not None and known.state not in NO_CERTIFICATE:
                info[serial] = detail_of(known)
        warnings = None
        if len(info) == _MOST_DETAILS:
            warnings = [f"a page has at most {_MOST_DETAILS} certificates: ask for those after the last one of it"]
        return Response(data={"keys": list(info), "key_info": info}, warnings=warnings)

    async def _serials(self, body: ListBody, limit: int) -> list[str]:
        """Raises NotFoundError when there is none, as lists of Vault's do."""
        after = parse_serial(body.after) if body.after else ""
        if limit < 0:
            raise InvalidRequestError("limit must not be negative")
        found = await serials(self._store, after=after, limit=limit)
        if not found:
            raise NotFoundError("")
        return found


_NOT_REVOKED = {"revocation_time": 0, "revocation_time_rfc3339": ""}


def _raw(pattern: str, handler: Handler, summary: str) -> Route:
    method = Method(handler=handler, mutates=False, summary=summary, media_types=(_DER, _PEM, _PEM))
    return Route(pattern=pattern, methods={Operation.READ: method}, unauthenticated=True)


def _list(pattern: str, handler: Handler, summary: str) -> Route:
    method = Method(handler=handler, body=ListBody, mutates=False, summary=summary)
    return Route(
        pattern=pattern,
        methods={Operation.LIST: method},
        help="For certificates by name, role or end there is `inventory`.",
    )


def _file(body: bytes, content_type: str) -> Response:
    return Response(raw=RawBody(body=body, content_type=content_type))


def _nothing(content_type: str) -> Response:
    """What Vault answers while there is no issuer."""
    return Response(status=204, raw=RawBody(body=b"", content_type=content_type))


def _text(issuer: Issuer) -> bytes:
    return f"{issuer.pem}\n".encode()

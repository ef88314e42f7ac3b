"""CRLs as everybody reads them, without a token, and the orders to sign them anew."""

from collections.abc import Awaitable, Callable
from typing import Any

from core.engine import Method, Route
from core.errors import NotFoundError
from core.requests import Operation, RawBody, Request, Response
from pki.authority import DEFAULT
from pki.crl_scope import scope_of
from pki.crl_store import CrlFile, CrlStore
from pki.crl_work import CrlWork
from pki.parts import Parts
from pki.tagged import tagged

_DER = "application/pkix-crl"  # RFC 2585, 4
_PEM = "application/x-pem-file"
_LOOKS = 3  # a newer CRL may take the place of the one just looked up

Handler = Callable[[Request, Any], Awaitable[Response]]


class CrlRoutes:
    """Answers come from memory; nothing is signed here."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._crls: CrlStore = parts.crls
        self._work: CrlWork = parts.crl_work

    def routes(self) -> list[Route]:
        """Below the mount."""
        orders = {
            "crl/rotate": Method(handler=self._rotate, summary="Sign all CRLs anew"),
            "crl/rotate-delta": Method(handler=self._rotate_delta, summary="Sign all delta CRLs anew"),
        }
        return [
            *self._of_kind("crl", "cert/crl", "issuer/{issuer_ref}/crl", delta=False),
            *self._of_kind("crl/delta", "cert/delta-crl", "issuer/{issuer_ref}/crl/delta", delta=True),
            *(Route(pattern=path, methods={Operation.READ: order}) for path, order in orders.items()),
        ]

    def _of_kind(self, short: str, cert: str, issuer: str, *, delta: bool) -> list[Route]:
        async def der(request: Request, _body: Any) -> Response:
            file = await self._found(request, delta=delta)
            return _none(_DER) if file is None else _kept(request, file.der, _DER, tag=file.tag)

        async def pem(request: Request, _body: Any) -> Response:
            file = await self._found(request, delta=delta)
            return _none(_PEM) if file is None else _kept(request, file.pem, _PEM, tag=f"{file.tag}-pem")

        async def as_crl(request: Request, _body: Any) -> Response:
            return Response(data={"crl": await self._text(request, delta=delta)})

        async def as_certificate(request: Request, _body: Any) -> Response:
            text = await self._text(request, delta=delta)
            return Response(data={"certificate": text, "revocation_time": 0, "revocation_time_rfc3339": ""})

        handlers = {
            short: der,
            f"{short}/pem": pem,
            cert: as_certificate,
            f"{cert}/raw": der,
            f"{cert}/raw/pem": pem,
            issuer: as_crl,
            f"{issuer}/der": der,
            f"{issuer}/pem": pem,
        }
        return [_file(pattern, handler) for pattern, handler in handlers.items()]

    async def _text(self, request: Request, *, delta: bool) -> str:
        file = await self._found(request, delta=delta)
        if file is None:
            raise NotFoundError("")
        return file.pem.decode()

    async def _found(self, request: Request, *, delta: bool) -> CrlFile | None:
        authority = await self._store.authority()
        reference = request.params.get("issuer_ref", "")
        if not reference and not authority.index.default_issuer:
            return None
        scope = scope_of(authority.issuer(reference or DEFAULT))
        head = await self._crls.head(scope)
        for _ in range(_LOOKS):
            crl = head.delta if delta else head.full
            if crl is None:
                return None
            file = await self._crls.file(scope, crl)
            if file is not None:
                return file
            head, _revision = await self._crls.stored_head(scope)
        return None

    async def _rotate(self, _request: Request, _body: Any) -> Response:
        return _ordered(is_there=await self._work.rotate())

    async def _rotate_delta(self, _request: Request, _body: Any) -> Response:
        if not (await self._store.authority()).index.crl.enable_delta:
            return Response(data={"success": True}, warnings=[_NO_DELTAS])
        return _ordered(is_there=await self._work.rotate(delta=True))


_NO_DELTAS = "requested rebuild of delta CRL when delta CRL is not enabled; this is a no-op"
_LATER = "the new CRLs are ordered and not all there yet: they are signed in the background as soon as possible"


def _ordered(*, is_there: bool) -> Response:
    return Response(data={"success": True}, warnings=None if is_there else [_LATER])


def _file(pattern: str, handler: Handler) -> Route:
    method = Method(handler=handler, mutates=False, summary="A CRL", statuses=(204, 304), media_types=(_DER, _PEM))
    return Route(pattern=pattern, methods={Operation.READ: method}, unauthenticated=True)


# the next revocation makes another one, so whoever keeps it asks each time whether it is the last one
_KEPT = {"Cache-Control": "public, no-cache"}


def _none(content_type: str) -> Response:
    """There is none yet; as in Vault."""
    return Response(raw=RawBody(body=b"", content_type=content_type), status=204)


def _kept(request: Request, octets: bytes, content_type: str, *, tag: str) -> Response:
    return tagged(request, octets, content_type=content_type, tag=tag, headers=_KEPT)

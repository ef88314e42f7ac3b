"""CA certificates by an issuer of this mount: intermediates, and roots of elsewhere (cross-signing)."""

from typing import Any

from core.engine import Method, Route
from core.protocols import Event, Transaction
from core.requests import Operation, Request, Response
from pki.aia import urls_for
from pki.authority import DEFAULT, Authority, Issuer
from pki.ca_answers import about_urls, certificate_text, issuer_text, origin_of
from pki.ca_asked import SelfIssuedBody, SignIntermediateBody
from pki.ca_plan import PlannedCa, plan_intermediate
from pki.chains import chain_of
from pki.csr import parse_csr
from pki.issuing import Issued, signing_key
from pki.parts import Parts
from pki.self_issued import check_same_algorithm, parse_self_issued, plan_self_issued


class SignCaRoutes:
    """Those of one mount. In `issuer/<ref>/…` the path chooses the issuer, elsewhere it is the default."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Signing what signed itself is a sudo path: it can make anybody's root one of ours."""
        sign, cross = "Sign the CSR of an intermediate CA", "Sign the certificate of another root anew (cross-signing)"
        return [
            _route("issuer/{issuer_ref}/sign-intermediate", self._sign, SignIntermediateBody, sign),
            _route("issuer/{issuer_ref}/sign-self-issued", self._cross, SelfIssuedBody, cross, sudo=True),
            _route("root/sign-intermediate", self._sign, SignIntermediateBody, sign),
            _route("root/sign-self-issued", self._cross, SelfIssuedBody, cross, sudo=True),
        ]

    async def _sign(self, request: Request, body: SignIntermediateBody) -> Response:
        body.check_format()
        authority, issuer = await self._issuer(request, body.issuer_ref)
        csr = parse_csr(body.csr)
        planned = plan_intermediate(body, csr, issuer, now=self._now(), mount=self._parts.mount)
        issued = await self._issue(request, "sign-intermediate", planned, issuer, authority)
        chain = [certificate_text(issued.der, body), *(issuer_text(one, body) for one in chain_of(issuer, authority))]
        data = {
            "certificate": "\n".join(chain) if body.format == "pem_bundle" else chain[0],
            "issuing_ca": issuer_text(issuer, body),
            "ca_chain": chain,
            "serial_number": issued.serial,
            "expiration": issued.not_after,
        }
        warnings = [*planned.warnings, *about_urls(urls_for(issuer, authority))]
        return Response(data=data, warnings=warnings or None)

    async def _cross(self, request: Request, body: SelfIssuedBody) -> Response:
        authority, issuer = await self._issuer(request, body.issuer_ref)
        certificate = parse_self_issued(body.certificate)
        if body.require_matching_certificate_algorithms:
            check_same_algorithm(certificate, issuer)
        planned = plan_self_issued(certificate, issuer, now=self._now())
        issued = await self._issue(request, "sign-self-issued", planned, issuer, authority)
        pem = SignIntermediateBody()
        data = {
            "certificate": certificate_text(issued.der, pem),
            "issuing_ca": issuer.pem,
            "serial_number": issued.serial,
            "expiration": issued.not_after,
        }
        return Response(data=data, warnings=planned.warnings or None)

    async def _issuer(self, request: Request, reference: str) -> tuple[Authority, Issuer]:
        """Raises unless it may issue, before anything is made."""
        authority = await self._parts.store.authority()
        issuer = authority.issuer(request.params.get("issuer_ref") or reference or DEFAULT)
        signing_key(issuer, now=self._now())
        return authority, issuer

    async def _issue(
        self, request: Request, way: str, planned: PlannedCa, issuer: Issuer, authority: Authority
    ) -> Issued:
        issued = await self._parts.issuing.issue(planned.plan, issuer, authority, origin_of(request, way))

        async def announce(txn: Transaction) -> None:
            metadata = {"issuer_id": issuer.issuer_id, "serial_number": issued.serial}
            await txn.announce(Event(type="pki/ca-sign", path=request.path, metadata=metadata))

        await self._parts.store.storage.transact(announce)
        return issued

    def _now(self) -> int:
        return int(self._parts.clock.now())


def _route(pattern: str, handler: Any, body: Any, summary: str, *, sudo: bool = False) -> Route:
    method = Method(handler=handler, body=body, summary=summary)
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=f"{summary}.", sudo=sudo)

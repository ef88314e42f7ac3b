"""Roots: a key, and a certificate that it signs about itself."""

from typing import Any

from core.engine import Method, Route
from core.ids import new_uuid
from core.protocols import Event
from core.requests import Operation, Request, Response
from pki.aia import filled_urls
from pki.authority import Authority, IssuerRow
from pki.ca_answers import about_key, about_urls, certificate_text, origin_of, private_key_of, with_key
from pki.ca_asked import RootBody
from pki.ca_keys import ChosenKey, check_way, choose_key
from pki.ca_plan import plan_root
from pki.parts import Parts
from pki.reference_names import check_issuer_name
from pki.store import AuthorityChange

_ROTATED = "next"  # the name of an issuer made by root/rotate, if it is free


class RootRoutes:
    """Those of one mount."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """The same under three names: Vault's first one, that of rotation, and that of mounts with many issuers."""
        return [
            _route("root/generate/{exported}", self._generate, "Make a root: a key and its own certificate"),
            _route("root/rotate/{exported}", self._rotate, "Make a root beside those that are there"),
            _route("issuers/generate/root/{exported}", self._generate, "Make a root: a key and its own certificate"),
        ]

    async def _rotate(self, request: Request, body: RootBody) -> Response:
        authority = await self._parts.store.authority()
        name = body.issuer_name or ("" if authority.issuer_named(_ROTATED) else _ROTATED)
        return await self._make(request, body, authority, name)

    async def _generate(self, request: Request, body: RootBody) -> Response:
        return await self._make(request, body, await self._parts.store.authority(), body.issuer_name)

    async def _make(self, request: Request, body: RootBody, authority: Authority, name: str) -> Response:
        """1. refuse what can be refused, 2. choose the key, 3. plan, 4. sign and keep, 5. answer."""
        parts, way, now = self._parts, request.params["exported"], int(self._parts.clock.now())
        body.check_format()
        check_way(way)
        check_issuer_name(name, authority)
        plan_root(body, public_key=b"", now=now, mount=parts.mount)
        chosen = await choose_key(way, body, authority, parts.keys, now=now)
        planned = plan_root(body, public_key=chosen.public_key, now=now, mount=parts.mount)
        issuer_id = new_uuid()
        urls = filled_urls(authority.index.urls, issuer_id, authority.index.cluster)

        async def keep(change: AuthorityChange, certificate: bytes) -> None:
            check_issuer_name(name, change.before)
            await chosen.keep(change)
            await change.put_issuer(
                _row(body, chosen, issuer_id=issuer_id, name=name, certificate=certificate, now=now)
            )
            await change.txn.announce(
                Event(type="pki/ca-root", path=request.path, metadata={"issuer_id": issuer_id, "name": name})
            )

        issued = await parts.issuing.self_sign(
            planned.plan, chosen.key.key, urls, origin_of(request, "root"), issuer_id=issuer_id, keep=keep
        )
        data = _answer(issued.der, chosen, body) | {
            "expiration": issued.not_after,
            "serial_number": issued.serial,
            "issuer_id": issuer_id,
            "issuer_name": name,
        }
        return Response(data=data, warnings=[*planned.warnings, *about_urls(urls)] or None)


def _row(body: RootBody, chosen: ChosenKey, *, issuer_id: str, name: str, certificate: bytes, now: int) -> IssuerRow:
    # CRLs of a root are signed as its certificate is (Vault: revocation_signature_algorithm follows the root's)
    padding = "PSS" if body.use_pss else ""
    algorithm = f"SHA{body.signature_bits or 256}WithRSA{padding}" if _is_rsa(chosen) else ""
    return IssuerRow(
        issuer_id=issuer_id,
        name=name,
        key_id=chosen.key.key_id,
        certificate=certificate,
        revocation_signature_algorithm=algorithm,
        created_at=now,
    )


def _is_rsa(chosen: ChosenKey) -> bool:
    return chosen.key.key.kind.value.startswith("rsa-")


def _answer(der: bytes, chosen: ChosenKey, body: RootBody) -> dict[str, Any]:
    shown = private_key_of(chosen, body)
    own = certificate_text(der, body)
    return {"certificate": with_key(own, shown, body), "issuing_ca": own} | about_key(chosen) | shown


def _route(pattern: str, handler: Any, summary: str) -> Route:
    method = Method(handler=handler, body=RootBody, summary=summary)
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=f"{summary}.")

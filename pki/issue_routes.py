"""Certificates of leaves over Vault's API: issue (with a key made here), sign (a CSR by a role), sign-verbatim."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.public_keys import PublicKey
from core.requests import Operation, Request, Response
from pki.asked import Asked
from pki.authority import DEFAULT, Authority, Issuer
from pki.chains import chain_of
from pki.csr import Csr, parse_csr
from pki.formats import Chain, Made, Wanted, answer_of, check_wanted
from pki.issuing import signing_key
from pki.leaf_keys import LeafKeys
from pki.parts import Parts
from pki.plan import Origin
from pki.planning import Planned, plan_leaf, plan_verbatim
from pki.role import VERBATIM, OpenRole, Role

Handler = Callable[[Request, Asked], Awaitable[Response]]

_KEY_FORMATS = ("", "der", "pem", "pkcs8")
_IGNORED = "parameters key_type and key_bits ignored as role had specific values"
_IN_VAIN = 'the {} field was provided but the role is set with "{}" set to true'
_NO_KEY_TYPE = (
    'role key type "any" not allowed for issuing certificates without providing key_type and/or key_bits request '
    "parameters"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _By:
    """Under which role and by which issuer something is issued, and how it is answered."""

    way: str  # issue, sign or sign-verbatim
    wanted: Wanted
    role: OpenRole | None  # None: sign-verbatim without one
    issuer: Issuer
    authority: Authority


class IssueRoutes:
    """Those of one mount. In `issuer/<ref>/…` the path chooses the issuer; elsewhere the role does, or the default."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._keys = LeafKeys()
        self._chains: dict[str, Chain] = {}  # by issuer id, of:
        self._chained: Authority | None = None

    def routes(self) -> list[Route]:
        """With and without the issuer in the path."""
        found = []
        for before, where in (("", ""), ("issuer/{issuer_ref}/", ", by the issuer named in the path")):
            found += [
                _route(f"{before}issue/{{role}}", self._issue, f"Make a key and its certificate{where}"),
                _route(f"{before}sign/{{role}}", self._sign, f"Sign a CSR under a role{where}"),
                _route(f"{before}sign-verbatim", self._sign_verbatim, f"Sign a CSR as it stands{where}"),
                _route(f"{before}sign-verbatim/{{role}}", self._sign_verbatim, f"Sign a CSR as it stands{where}"),
            ]
        return found

    # --- the three ways ------------------------------------------------------------------------------------------

    async def _issue(self, request: Request, asked: Asked) -> Response:
        role = await self._role(request)
        by = await self._by("issue", request, asked, role)
        key_type, key_bits, ignored = _key_kind(role.role, asked)
        check_wanted(by.wanted, has_key=True, key_type=key_type)
        key: Any = await self._keys.generate(key_type, key_bits)
        planned = self._planned(request, asked, by, role, key.public_key())
        planned.warnings.extend(ignored)
        return await self._answer(request, by, planned, key)

    async def _sign(self, request: Request, asked: Asked) -> Response:
        role = await self._role(request)
        by = await self._by("sign", request, asked, role)
        check_wanted(by.wanted, has_key=False)
        csr = parse_csr(asked.csr)
        planned = self._planned(request, asked, by, role, csr)
        planned.warnings.extend(_said_in_vain(role.role, asked))
        return await self._answer(request, by, planned)

    async def _sign_verbatim(self, request: Request, asked: Asked) -> Response:
        role = await self._role(request) if "role" in request.params else None
        by = await self._by("sign-verbatim", request, asked, role)
        check_wanted(by.wanted, has_key=False)
        csr = parse_csr(asked.csr)
        planned = plan_verbatim(role, asked, csr=csr, issuer=by.issuer, now=self._now(), mount=self._parts.mount)
        planned.warnings.extend(_said_in_vain(VERBATIM, asked))
        return await self._answer(request, by, planned)

    # --- steps ---------------------------------------------------------------------------------------------------

    async def _role(self, request: Request) -> OpenRole:
        name = request.params["role"]
        role = await self._parts.store.role(name)
        if role is None:
            raise InvalidRequestError(f"unknown role: {name}")
        return role

    async def _by(self, way: str, request: Request, asked: Asked, role: OpenRole | None) -> _By:
        """Raises unless the issuer may issue, before anything is made."""
        reference = role.role.issuer_ref if role is not None else asked.issuer_ref
        authority = await self._parts.store.authority()
        issuer = authority.issuer(request.params.get("issuer_ref") or reference or DEFAULT)
        signing_key(issuer, now=self._now())
        return _By(way=way, wanted=_wanted(asked), role=role, issuer=issuer, authority=authority)

    def _planned(self, request: Request, asked: Asked, by: _By, role: OpenRole, about: Csr | PublicKey) -> Planned:
        """`about`: a CSR, or the public key that was made here."""
        csr = about if isinstance(about, Csr) else None
        key = about.key if isinstance(about, Csr) else about
        return plan_leaf(
            role,
            asked,
            csr=csr,
            public_key=_encoded(key) if csr is None else csr.public_key,
            key=key,
            issuer=by.issuer,
            now=self._now(),
            mount=self._parts.mount,
            identity=request.identity,
        )

    def _now(self) -> int:
        return int(self._parts.clock.now())

    async def _answer(
        self, request: Request, by: _By, planned: Planned, key: PrivateKeyTypes | None = None
    ) -> Response:
        parts, caller, opened = self._parts, request.caller, by.role
        rules = opened.role if opened is not None else VERBATIM
        origin = Origin(
            way=by.way,
            role=opened.name if opened is not None else "",
            requester=caller.display_name if caller is not None else "",
            entity_id=caller.entity_id if caller is not None else "",
            request_id=request.request_id,
            no_store=rules.no_store,
        )
        issued = await parts.issuing.issue(planned.plan, by.issuer, by.authority, origin)
        parts.meter.count("certificate_issued")
        made = Made(issued=issued, issuer=by.issuer, chain=self._chain(by.issuer, by.authority), key=key)
        lease = parts.leases.grant(issued) if rules.generate_lease else None
        return Response(data=answer_of(made, by.wanted), warnings=planned.warnings or None, lease=lease)

    def _chain(self, issuer: Issuer, authority: Authority) -> Chain:
        """Made once for each state of the authority."""
        if self._chained is not authority:
            self._chained, self._chains = authority, {}
        known = self._chains.get(issuer.issuer_id)
        if known is None:
            known = self._chains[issuer.issuer_id] = Chain(chain_of(issuer, authority))
        return known


def _encoded(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _route(pattern: str, handler: Handler, summary: str) -> Route:
    # Both audit records may be written together, before the answer, though something is written here: the intent row,
    # durable before the HSM is asked, says itself who asked for what and under which request id. Until the records are
    # on disk nobody is answered; so there is no certificate in anybody's hands that neither log nor inventory knows. A
    # client that goes away in the middle leaves what a lost answer leaves, or an intent that is abandoned.
    method = Method(handler=handler, body=Asked, mutates=False, asks_identity=True, summary=summary)
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=f"{summary}.")


def _wanted(asked: Asked) -> Wanted:
    if asked.private_key_format not in _KEY_FORMATS:
        raise InvalidRequestError('"private_key_format" must be "der", "pem" or "pkcs8"')
    return Wanted(
        format=asked.format or "pem",
        is_pkcs8=asked.private_key_format == "pkcs8",
        without_roots=asked.remove_roots_from_chain,
        pkcs12_password=asked.pkcs12_password,
    )


def _key_kind(role: Role, asked: Asked) -> tuple[str, int, Sequence[str]]:
    """Type and bits of the key that is to be made, and what to say about it. Raises InvalidRequestError."""
    if role.key_type != "any":
        return role.key_type, role.key_bits, (_IGNORED,) if asked.key_type or asked.key_bits else ()
    if not asked.key_type:
        raise InvalidRequestError(_NO_KEY_TYPE)
    return asked.key_type, asked.key_bits, ()


def _said_in_vain(role: Role, asked: Asked) -> list[str]:
    """What was said in vain, in Vault's words."""
    found = []
    if role.use_csr_common_name and asked.common_name:
        found.append(_IN_VAIN.format("common_name", "use_csr_common_name"))
    if role.use_csr_sans and asked.alt_names:
        found.append(_IN_VAIN.format("alt_names", "use_csr_sans"))
    return found

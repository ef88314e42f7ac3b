"""Intermediates, the first half: a key here, and a request (PKCS #10, RFC 2986) that another CA is to sign.

The other half is intermediate/set-signed, which takes the certificate.
"""

from base64 import b64encode
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.prepared_signature import Build, Digest, sign_prepared
from core.requests import Operation, Request, Response
from pki.authority import Authority, Issuer
from pki.ca_answers import about_key, about_urls, private_key_of, with_key
from pki.ca_asked import IntermediateBody
from pki.ca_keys import ChosenKey, check_way, choose_key
from pki.ca_plan import ca_key_usage, check_signature_bits, names_of, subject_of
from pki.parts import Parts

_HASHES: dict[int, Digest] = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}


class IntermediateRoutes:
    """Those of one mount."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Under Vault's first name and that of mounts with many issuers; and for a key that has a certificate."""
        summary = "Make a key and a request that another CA is to sign"
        cross = "Make a request for a key that is here, so that another CA certifies it, too"
        return [
            _route("intermediate/cross-sign", self._cross_sign, cross),
            _route("intermediate/generate/{exported}", self._generate, summary),
            _route("issuers/generate/intermediate/{exported}", self._generate, summary),
        ]

    async def _generate(self, request: Request, body: IntermediateBody) -> Response:
        authority = await self._parts.store.authority()
        way = request.params["exported"]
        check_way(way)
        _check(body)
        subject, names = subject_of(body), names_of(body)
        chosen = await self._chosen(way, body, authority)
        return await self._answer(body, chosen, authority, _builder(body, subject, names))

    async def _cross_sign(self, _request: Request, body: IntermediateBody) -> Response:
        """The request says what the certificate of that key says, unless the body names another subject."""
        authority = await self._parts.store.authority()
        _check(body)
        subject, names = subject_of(body), names_of(body)
        chosen = await self._chosen("existing", body, authority)
        present = _issuer_of(chosen, authority)
        if present is not None and not len(subject):
            subject, names = present.subject, names or _names(present)
        if not len(subject):
            raise InvalidRequestError("no issuer here has this key, so give common_name")
        builder = _builder(body, subject, names)
        if present is not None:
            builder = builder.add_extension(_key_identifier(present), critical=False)
        return await self._answer(body, chosen, authority, builder)

    async def _chosen(self, way: str, body: IntermediateBody, authority: Authority) -> ChosenKey:
        return await choose_key(way, body, authority, self._parts.keys, now=int(self._parts.clock.now()))

    async def _answer(
        self,
        body: IntermediateBody,
        chosen: ChosenKey,
        authority: Authority,
        builder: x509.CertificateSigningRequestBuilder,
    ) -> Response:
        """Sign, then keep the key: a request that was not made leaves none behind."""
        csr = await sign_prepared(self._parts.keys, chosen.key.key, _build(builder, body))
        await self._parts.store.change_authority(chosen.keep)
        shown = private_key_of(chosen, body)
        if body.format == "der":
            text = b64encode(csr.public_bytes(Encoding.DER)).decode()
        else:
            text = with_key(csr.public_bytes(Encoding.PEM).decode().rstrip("\n"), shown, body)
        return Response(
            data={"csr": text} | about_key(chosen) | shown, warnings=about_urls(authority.index.urls) or None
        )


def _check(body: IntermediateBody) -> None:
    body.check_format()
    check_signature_bits(body)


def _builder(
    body: IntermediateBody, subject: x509.Name, names: tuple[x509.GeneralName, ...]
) -> x509.CertificateSigningRequestBuilder:
    builder = x509.CertificateSigningRequestBuilder(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not len(subject))
    if body.add_basic_constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if body.key_usage:
        builder = builder.add_extension(ca_key_usage(body.key_usage), critical=True)
    return builder


def _build(
    builder: x509.CertificateSigningRequestBuilder, body: IntermediateBody
) -> Build[x509.CertificateSigningRequest]:
    def sign(key: Any, digest: Digest) -> x509.CertificateSigningRequest:
        if digest is not None and body.signature_bits:
            digest = _HASHES[body.signature_bits]
        pss = None
        if body.use_pss and isinstance(key, rsa.RSAPrivateKey) and digest is not None:
            pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
        return builder.sign(key, digest, rsa_padding=pss)

    return sign


def _issuer_of(chosen: ChosenKey, authority: Authority) -> Issuer | None:
    """The issuer of that key: the default if it is one, else the youngest."""
    found = [issuer for issuer in authority.issuers.values() if issuer.row.key_id == chosen.key.key_id]
    default = authority.index.default_issuer
    return max(found, key=lambda issuer: (issuer.issuer_id == default, issuer.row.created_at), default=None)


def _names(issuer: Issuer) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(issuer.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _key_identifier(issuer: Issuer) -> x509.SubjectKeyIdentifier:
    """What stands as the authority key identifier in all that this key has signed."""
    named = issuer.authority_key_identifier.key_identifier
    if named is None:
        raise RuntimeError("the authority key identifier of an issuer names its key")
    return x509.SubjectKeyIdentifier(named)


def _route(pattern: str, handler: Any, summary: str) -> Route:
    method = Method(handler=handler, body=IntermediateBody, summary=summary)
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=f"{summary}.")

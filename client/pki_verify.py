"""Whether an answer holds what was asked for: our key, and a chain of signatures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from client.api import JsonObject
from client.errors import LocalError
from client.pki_certificate import certificate_of, certificates_in, public_key_of, subject_text
from client.pki_key import public_der


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate and those above it, the issuing CA first."""

    certificate: x509.Certificate
    chain: Sequence[x509.Certificate]

    @property
    def intermediates(self) -> list[x509.Certificate]:
        """What a server sends along: all but roots, which the other side has or does not trust."""
        return [ca for ca in self.chain if not is_self_issued(ca)]

    @property
    def anchors(self) -> list[x509.Certificate]:
        """What the other side trusts: the roots, or the highest that is known."""
        return [ca for ca in self.chain if is_self_issued(ca)] or list(self.chain[-1:])


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether it is a root."""
    return certificate.subject == certificate.issuer


def issued_of(data: JsonObject) -> Issued:
    """The certificates of an answer of issue or sign, in PEM."""
    certificate = certificate_of(data.get("certificate"), what="certificate")
    texts = data.get("ca_chain")
    chain = [
        found
        for text in (texts if isinstance(texts, list) else [])
        for found in certificates_in(str(text).encode(), what="ca_chain in the answer")
    ]
    return Issued(certificate=certificate, chain=chain or [certificate_of(data.get("issuing_ca"), what="issuing_ca")])


def check_issued(issued: Issued, public_key: Any) -> None:
    """LocalError unless the certificate is of this key and every signature of the chain verifies."""
    theirs = public_key_of(issued.certificate)
    if theirs is None or public_der(theirs) != public_der(public_key):
        raise LocalError("the certificate in the answer is not of our key: nothing is written. Is this Mimir?")
    check_chain([issued.certificate, *issued.chain])


def check_chain(certificates: Sequence[x509.Certificate]) -> None:
    """LocalError that names the link that does not hold. Several roots of a chain stand in any order."""
    below = certificates[0]
    rest = list(certificates[1:])
    while rest:
        above = next((ca for ca in rest if ca.subject == below.issuer), None)
        if above is None:
            if is_self_issued(below) or below is not certificates[0]:
                return
            raise LocalError(f"no certificate in the chain is of {subject_text(below.issuer)}, which issued it")
        check_link(below, above)
        rest.remove(above)
        below = above


def check_link(below: x509.Certificate, above: x509.Certificate) -> None:
    """LocalError unless `above` signed `below`."""
    try:
        verify_signature(
            public_key_of(above),
            below.signature,
            below.tbs_certificate_bytes,
            below.signature_hash_algorithm,
            below.signature_algorithm_parameters,
        )
    except InvalidSignature as exc:
        names = f"{subject_text(above.subject)} did not sign the certificate of {subject_text(below.subject)}"
        raise LocalError(f"the chain does not hold: {names}") from exc


def verify_signature(key: Any, signature: bytes, content: bytes, digest: Any, parameters: Any) -> None:
    """InvalidSignature, or LocalError when this machine cannot tell."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            scheme = parameters if isinstance(parameters, padding.PSS) else padding.PKCS1v15()
            key.verify(signature, content, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(digest))
        elif key is None:
            raise LocalError("a key in the chain is of a kind that cannot be verified on this machine")
        else:
            key.verify(signature, content)
    except UnsupportedAlgorithm as exc:
        raise LocalError("a signature in the chain is of a kind that cannot be verified on this machine") from exc


def key_ids_match(below: x509.Certificate, above: x509.Certificate) -> bool:
    """Whether the key that `below` names as its issuer's is the one of `above` (RFC 5280, 4.2.1.1)."""
    try:
        named = below.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        theirs = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return False
    return named == theirs

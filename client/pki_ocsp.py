"""OCSP from the asking side (RFC 6960): the request, and whether the answer may be believed."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from client.errors import LocalError
from client.pki_certificate import moment, public_key_of, serial_text, subject_text
from client.pki_verify import check_link, verify_signature

if TYPE_CHECKING:
    from client.api import JsonObject

_SKEW = timedelta(minutes=1)


def build_request(certificate: x509.Certificate, issuer: x509.Certificate, nonce: bytes) -> bytes:
    """DER. SHA-1 names the issuer, as every responder knows it (RFC 5019, 2.1.1); nothing is protected by it."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303 - see above
    return builder.add_extension(x509.OCSPNonce(nonce), critical=False).build().public_bytes(Encoding.DER)


def read_answer(
    content: bytes, certificate: x509.Certificate, issuer: x509.Certificate, *, nonce: bytes, now: datetime
) -> "JsonObject":
    """What the answer says, once it is verified. LocalError says why it cannot be believed."""
    try:
        answer = ocsp.load_der_ocsp_response(content)
    except ValueError as exc:
        raise LocalError("the answer is no OCSP response: is OCSP served at this mount?") from exc
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise LocalError(f"the responder refused: {answer.response_status.name.lower().replace('_', ' ')}")
    signer = _signer(answer, issuer, now)
    _check_signature(answer, signer)
    if answer.serial_number != certificate.serial_number:
        raise LocalError("the OCSP answer is about another certificate")
    _check_time(answer, now)
    return _members(answer, signer, issuer) | {"nonce": _nonce(answer, nonce)}


def _signer(answer: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> x509.Certificate:
    """The issuer itself, or whom it has named for this (RFC 6960, 4.2.2.2)."""
    for candidate in answer.certificates:
        if candidate.subject == issuer.subject and candidate.public_key() == issuer.public_key():
            return issuer  # maybe in another of its certificates
        check_link(candidate, issuer)
        if not candidate.not_valid_before_utc <= now <= candidate.not_valid_after_utc:
            raise LocalError("the certificate of the OCSP responder has ended")
        try:
            purposes = candidate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            purposes = x509.ExtendedKeyUsage([])
        if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
            raise LocalError("the certificate of the OCSP responder is not for OCSP signing")
        return candidate
    return issuer


def _check_signature(answer: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    try:
        verify_signature(
            public_key_of(signer), answer.signature, answer.tbs_response_bytes, answer.signature_hash_algorithm, None
        )
    except InvalidSignature as exc:
        raise LocalError("the OCSP answer is not signed by the issuer, nor by whom it has named") from exc


def _check_time(answer: ocsp.OCSPResponse, now: datetime) -> None:
    end = answer.next_update_utc
    if answer.this_update_utc > now + _SKEW or (end is not None and end < now - _SKEW):
        raise LocalError("the OCSP answer is not of this time: look at the clocks")


def _nonce(answer: ocsp.OCSPResponse, nonce: bytes) -> str:
    try:
        theirs = answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return "not answered"  # allowed: the answer may be one made before (RFC 5019)
    if theirs != nonce:
        raise LocalError("the OCSP answer has the nonce of another request")
    return "the same"


def _members(answer: ocsp.OCSPResponse, signer: x509.Certificate, issuer: x509.Certificate) -> "JsonObject":
    found: JsonObject = {
        "status": answer.certificate_status.name.lower(),
        "serial_number": serial_text(answer.serial_number),
        "this_update": moment(answer.this_update_utc),
        "signed_by": subject_text(signer.subject) + ("" if signer is issuer else " (for the issuer)"),
    }
    if answer.next_update_utc is not None:
        found["next_update"] = moment(answer.next_update_utc)
    if answer.revocation_time_utc is not None:
        found["revocation_time"] = moment(answer.revocation_time_utc)
    if answer.revocation_reason is not None:
        found["reason"] = answer.revocation_reason.value
    return found

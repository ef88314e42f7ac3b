"""What the extensions of a certificate or a CSR say, a line for each, and the whole of it as members."""

from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, SignatureAlgorithmOID

from client.api import JsonObject
from client.pki_certificate import distance, fingerprint, key_text, moment, public_key_of, serial_text, subject_text

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_USAGES = {
    "digital_signature": "digital signature",
    "content_commitment": "content commitment",
    "key_encipherment": "key encipherment",
    "data_encipherment": "data encipherment",
    "key_agreement": "key agreement",
    "key_cert_sign": "certificate signing",
    "crl_sign": "CRL signing",
}
_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "server authentication",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client authentication",
    ExtendedKeyUsageOID.CODE_SIGNING: "code signing",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "email protection",
    ExtendedKeyUsageOID.TIME_STAMPING: "time stamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSP signing",
}
_SIGNATURES = {oid: name for name, oid in vars(SignatureAlgorithmOID).items() if isinstance(oid, x509.ObjectIdentifier)}


def names_in(extension: x509.SubjectAlternativeName) -> list[str]:
    """Each name with its kind, as `DNS:web.example.com`."""
    return [_general_name(name) for name in extension]


def _general_name(name: x509.GeneralName) -> str:
    kinds = {
        x509.DNSName: "DNS",
        x509.RFC822Name: "email",
        x509.UniformResourceIdentifier: "URI",
        x509.IPAddress: "IP",
        x509.RegisteredID: "ID",
        x509.DirectoryName: "directory",
    }
    if isinstance(name, x509.OtherName):
        return f"other:{name.type_id.dotted_string}"
    if isinstance(name, x509.DirectoryName):
        return f"directory:{subject_text(name.value)}"
    value = name.value.dotted_string if isinstance(name, x509.RegisteredID) else name.value
    return f"{kinds.get(type(name), 'name')}:{value}"


def alternative_names(extensions: x509.Extensions) -> list[str]:
    """The SANs; none is an empty list."""
    found = _value(extensions, x509.SubjectAlternativeName)
    return names_in(found) if found is not None else []


def _value(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def describe(certificate: x509.Certificate, now: datetime) -> JsonObject:
    """A certificate's members under the names of the API where it has them."""
    extensions = _extensions(certificate)
    not_after = certificate.not_valid_after_utc
    key = public_key_of(certificate)
    return {
        "subject": subject_text(certificate.subject),
        "names": alternative_names(extensions),
        "issuer": subject_text(certificate.issuer),
        "serial_number": serial_text(certificate.serial_number),
        "not_before": moment(certificate.not_valid_before_utc),
        "not_after": moment(not_after),
        "validity": _validity(certificate, now),
        "key": key_text(key) if key is not None else certificate.public_key_algorithm_oid.dotted_string,
        "signature": _signature(certificate),
        **_usages(extensions),
        **_addresses(extensions),
        "fingerprint_sha256": fingerprint(certificate),
    }


def _extensions(holder: x509.Certificate | x509.CertificateSigningRequest) -> x509.Extensions:
    try:
        return holder.extensions
    except (ValueError, x509.DuplicateExtension):
        return x509.Extensions([])


def _validity(certificate: x509.Certificate, now: datetime) -> str:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return f"not yet valid: begins {distance(begin, now)}"
    return f"ends {distance(end, now)}" if now <= end else f"EXPIRED {distance(end, now)}"


def _signature(certificate: x509.Certificate) -> str:
    oid = certificate.signature_algorithm_oid
    return _SIGNATURES.get(oid, oid.dotted_string)


def _usages(extensions: x509.Extensions) -> JsonObject:
    """Key usage, purposes and constraints; what is not there is left out."""
    found: JsonObject = {}
    constraints = _value(extensions, x509.BasicConstraints)
    if constraints is not None:
        length = "no limit" if constraints.path_length is None else str(constraints.path_length)
        found["ca"] = f"yes, CAs below it: {length}" if constraints.ca else "no"
    usage = _value(extensions, x509.KeyUsage)
    if usage is not None:
        found["key_usage"] = [words for name, words in _USAGES.items() if getattr(usage, name)]
    purposes = _value(extensions, x509.ExtendedKeyUsage)
    if purposes is not None:
        found["ext_key_usage"] = [_PURPOSES.get(oid, oid.dotted_string) for oid in purposes]
    names = _value(extensions, x509.NameConstraints)
    if names is not None:
        found["permitted_names"] = [_general_name(name) for name in names.permitted_subtrees or ()]
        found["excluded_names"] = [_general_name(name) for name in names.excluded_subtrees or ()]
    return found


def _addresses(extensions: x509.Extensions) -> JsonObject:
    """Where the issuer, its CRL and its OCSP responder are."""
    found: JsonObject = {}
    access = _value(extensions, x509.AuthorityInformationAccess)
    for method, member in (
        (AuthorityInformationAccessOID.CA_ISSUERS, "issuing_certificates"),
        (AuthorityInformationAccessOID.OCSP, "ocsp_servers"),
    ):
        urls = [str(entry.access_location.value) for entry in access or () if entry.access_method == method]
        found |= {member: urls} if urls else {}
    points = _value(extensions, x509.CRLDistributionPoints)
    urls = [str(name.value) for point in points or () for name in point.full_name or ()]
    return found | ({"crl_distribution_points": urls} if urls else {})


def describe_csr(csr: x509.CertificateSigningRequest) -> JsonObject:
    """What a CSR asks for, and whether it proves possession of its key."""
    extensions = _extensions(csr)
    key = public_key_of(csr)
    return {
        "subject": subject_text(csr.subject),
        "names": alternative_names(extensions),
        "key": key_text(key) if key is not None else "of a kind that is not known here",
        "signature_valid": key is not None and csr.is_signature_valid,
        **_usages(extensions),
    }


def now_utc() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)

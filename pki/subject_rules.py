"""Subjects of leaves: the role's attributes, and what a request adds to them if the role allows it."""

from cryptography import x509
from cryptography.x509.oid import NameOID

from core.errors import InvalidRequestError
from core.requests import Identity
from pki.alternative_names import refused
from pki.asked import Asked
from pki.csr import Csr
from pki.dns_names import to_ascii
from pki.names import common_name_of
from pki.role import OpenRole
from pki.subjects import attribute

_MAX_USER_IDS = 100


def allowed_common_name(role: OpenRole, asked: Asked, csr: Csr | None, identity: Identity | None) -> str:
    """The common name, "" for none: that of the CSR, where the role takes it, before that of the body.

    A host name is in ASCII then. Raises InvalidRequestError.
    """
    rules = role.role
    common_name = common_name_of(csr.subject) if csr is not None and rules.use_csr_common_name else ""
    common_name = common_name or asked.common_name
    if not common_name:
        if rules.require_cn:
            raise InvalidRequestError(
                'the common_name field is required, or must be provided in a CSR with "use_csr_common_name" set to'
                ' true, unless "require_cn" is set to false'
            )
        return ""
    if rules.cn_validations == ("disabled",):
        return common_name
    before, at, host = common_name.rpartition("@")
    in_ascii = before + at + to_ascii(host)
    kind = "email" if at else "hostname"
    if kind not in rules.cn_validations or not role.domains.allow(in_ascii, identity):
        raise refused("common name", common_name)
    return in_ascii


def subject_of(role: OpenRole, common_name: str, asked: Asked, csr: Csr | None) -> x509.Name:
    """In OpenBao's order; each value is an RDN of its own (X.501, 9.3). Raises InvalidRequestError."""
    found = list(role.attributes)
    if common_name:
        found.append(attribute(NameOID.COMMON_NAME, common_name))
    serial_number = asked.serial_number or "".join(_of_csr(csr, NameOID.SERIAL_NUMBER)[-1:])
    if serial_number:
        if not role.serial_numbers.allow(serial_number):
            raise refused("serial_number", serial_number)
        found.append(attribute(NameOID.SERIAL_NUMBER, serial_number))
    found += [_user_id(role, value) for value in _user_ids(asked, csr)]
    return x509.Name(found)


def _user_ids(asked: Asked, csr: Csr | None) -> list[str]:
    values = list(dict.fromkeys(asked.user_ids or _of_csr(csr, NameOID.USER_ID)))
    if len(values) > _MAX_USER_IDS:
        raise InvalidRequestError(f"a subject has at most {_MAX_USER_IDS} user_ids")
    return values


def _user_id(role: OpenRole, value: str) -> x509.NameAttribute[str]:
    if not role.user_ids.allow(value):
        raise refused("user_id", value)
    return attribute(NameOID.USER_ID, value)


def _of_csr(csr: Csr | None, oid: x509.ObjectIdentifier) -> list[str]:
    """Texts alone: a value of another kind (a BIT STRING) names nothing that a role could allow."""
    if csr is None:
        return []
    return [found.value for found in csr.subject.get_attributes_for_oid(oid) if isinstance(found.value, str)]


def checked_subject(subject: x509.Name) -> x509.Name:
    """That of a CSR, to be taken as it is. Raises InvalidRequestError for what may not stand in a certificate."""
    for found in subject:
        if not isinstance(found.value, str):
            continue
        if not found.value.isprintable():
            raise InvalidRequestError("the subject of the csr holds a control character")
        try:
            x509.NameAttribute(found.oid, found.value)  # checks the length
        except ValueError:
            raise InvalidRequestError(
                f"the subject of the csr has a value of {found.oid.dotted_string} that is too short or too long"
                " (RFC 5280, A.1)"
            ) from None
    return subject

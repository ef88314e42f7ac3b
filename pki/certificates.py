"""The inventory: one row for each certificate that this mount issued or took over, found by what people ask for.

Rows are in the catalog "certs" (core.protocols.CatalogRow): row_id the serial number, group the issuer's id, due_at
not_after, changed_at the time of revocation, terms as `terms_of` makes them.
"""

from enum import IntEnum

import msgspec

from core.errors import IntegrityError
from core.protocols import CatalogRow

CATALOG = "certs"
_INDEXED = 255  # characters of a name that it is found by; a URI may have thousands, and the index takes 2048 bytes


class State(IntEnum):
    """What became of a serial number."""

    INTENDED = 0  # written down before the signature was asked for; nobody has seen a certificate
    ISSUED = 1
    REVOKED = 2
    ABANDONED = 3  # the signature never came: the serial number stays taken, there is no certificate


class Certificate(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The body of a row. Members are only ever added, at the end."""

    certificate: bytes = b""  # DER; of an INTENDED or ABANDONED one its TBSCertificate
    issuer_id: str = ""
    role: str = ""  # "" of CA certificates and sign-verbatim without a role
    way: str = ""  # issue, sign, sign-verbatim, sign-intermediate, sign-self-issued, root, imported
    requester: str = ""  # the display name of the token
    entity_id: str = ""
    request_id: str = ""
    common_name: str = ""
    names: tuple[str, ...] = ()  # subject alternative names as text: "dns:web.example.com", "ip:10.0.0.1", "uri:…"
    issued_at: int = 0  # epoch seconds
    revoked_at: int = 0  # epoch seconds
    reason: str = ""  # of the revocation, as RFC 5280, 5.3.1 names it
    is_ca: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the inventory, decoded."""

    serial: str
    state: State
    not_after: int  # epoch seconds
    body: Certificate
    number: int = 0
    revision: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Certificate).decode
_STATES = {int(state): state for state in State}  # quicker than State()


def decode_row(row: CatalogRow) -> Known:
    """A row as it was read. Raises IntegrityError."""
    try:
        body = _decode(row.body)
        state = _STATES[row.state]
    except (msgspec.DecodeError, KeyError):
        raise IntegrityError(f"the row of the certificate {row.row_id} cannot be read") from None
    return Known(
        serial=row.row_id, state=state, not_after=row.due_at, body=body, number=row.number, revision=row.revision
    )


def encode_row(known: Known, *, with_terms: bool = False) -> CatalogRow:
    """A row to be written; `with_terms` when it is new."""
    body = known.body
    return CatalogRow(
        row_id=known.serial,
        body=_encode(body),
        state=known.state,
        group=body.issuer_id,
        due_at=known.not_after,
        changed_at=body.revoked_at,
        terms=terms_of(body) if with_terms else None,
    )


def terms_of(body: Certificate) -> tuple[str, ...]:
    """What it can be found by, in lower case: every name forwards and backwards, so that "*.example.com" is quick, too.

    "role:web", "by:<requester>", "san:web.example.com", "nas:moc.elpmaxe.bew". Issuer, state and end are columns.
    """
    names = {name.partition(":")[2] for name in body.names} | {body.common_name}
    terms = [found for name in sorted(names) if name for found in (term("san", name), term("nas", name[::-1]))]
    if body.role:
        terms.append(term("role", body.role))
    if body.requester:
        terms.append(term("by", body.requester))
    return tuple(terms)


def term(kind: str, text: str) -> str:
    """As it stands in the index: in lower case, the beginning of a long one, without what no database stores.

    So different names may have one term: whoever finds by it looks into the body.
    """
    if not text.isascii() or "\0" in text:
        text = text.replace("\0", "?").encode(errors="replace").decode()
    return f"{kind}:{text.casefold()[:_INDEXED]}"  # unlike lower(), of a beginning it is the beginning

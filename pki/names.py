"""Names in certificates as text, for people and for the inventory."""

from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID


def common_name_of(name: x509.Name) -> str:
    """The common name, "" when there is none; of several the last one, as Go and OpenSSL take it."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


_KINDS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "uri",
}


def name_texts(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """Subject alternative names with their kind before them: "dns:web.example.com", "ip:10.0.0.1"."""
    return tuple(_text(name) for name in names)


def _text(name: x509.GeneralName) -> str:
    if isinstance(name, x509.OtherName):
        return f"other:{name.type_id.dotted_string};{name.value.hex()}"
    if isinstance(name, x509.DirectoryName):
        return f"dirname:{name.value.rfc4514_string()}"
    if isinstance(name, x509.RegisteredID):
        return f"oid:{name.value.dotted_string}"
    return f"{_KINDS[type(name)]}:{name.value}"

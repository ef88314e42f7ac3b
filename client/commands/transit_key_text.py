"""A transit key as people read it: its properties, its versions, and the public half of one of them."""

import base64
import binascii
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from client.errors import LocalError
from client.table import columns, duration, key_values, sorted_items
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

_BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def key_text(answer: "Answer", *, version: int | None = None) -> str:
    """Properties; a table of versions, the newest last; PEM of the version asked for, or of the latest."""
    data = answer.data
    versions = data.get("keys")
    rows = [(name, _property(name, value)) for name, value in sorted_items(data) if name not in {"keys", "usage"}]
    properties = key_values(rows)
    if not isinstance(versions, dict) or not versions:
        return properties
    numbers = sorted(versions, key=_number)
    shown = str(version) if version is not None else numbers[-1]
    if shown not in versions:
        raise LocalError(f"the key has no version {shown}; it has {numbers[0]} to {numbers[-1]}")
    parts = [properties, _versions_table(versions, numbers, data.get("usage")), _pem(shown, versions[shown])]
    return "\n\n".join(part for part in parts if part)


def _property(name: str, value: object) -> object:
    return duration(value) if name == "auto_rotate_period" else value


def _number(version: str) -> int:
    return int(version) if version.isdigit() and version.isascii() else 0


def _versions_table(versions: "JsonObject", numbers: list[str], usage: object) -> str:
    """Columns that say nothing of any version are left out."""
    used = usage if isinstance(usage, dict) else {}
    headings = ("Version", "Created", "Encryptions (at most)", "Public key", "Certificates")
    rows = [(number, *_details(versions[number]), used.get(number)) for number in numbers]
    ordered = [(number, made, count, public, certificates) for number, made, public, certificates, count in rows]
    kept = [
        place for place in range(len(headings)) if place < 2 or any(row[place] not in {None, ""} for row in ordered)
    ]
    return columns([headings[place] for place in kept], [[row[place] for place in kept] for row in ordered])


def _details(version: object) -> tuple[object, object, object]:
    """When it was made, its public key, and how many certificates it has. Symmetric keys have a Unix time alone."""
    if isinstance(version, int) and 0 <= version < 253402300800:  # year 10000, where datetime ends
        return datetime.fromtimestamp(version, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), None, None
    if not isinstance(version, dict) or "creation_time" not in version:
        return version, None, None
    chain = str(version.get("certificate_chain") or "").count(_BEGIN_CERTIFICATE)
    return version["creation_time"], short_public_key(str(version.get("public_key") or "")), chain or None


def short_public_key(text: str) -> str:
    """A key of one line (Ed25519) as it is; of PEM the SHA-256 of its DER, as OpenSSH writes fingerprints."""
    lines = text.strip().splitlines()
    if len(lines) < 3:
        return text.strip()
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error:
        return lines[0]
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def _pem(number: str, version: object) -> str:
    """The PEM texts of a version under a heading each."""
    if not isinstance(version, dict):
        return ""
    parts = []
    for member, title in (("public_key", "Public key"), ("certificate_chain", "Certificate chain")):
        lines = str(version.get(member) or "").strip().splitlines()
        if len(lines) > 1:
            parts.append("\n".join([f"{title} of version {number}", *(printable(line) for line in lines)]))
    return "\n\n".join(parts)

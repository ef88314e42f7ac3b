"""The files of `mimir pki issue --out-dir`: what is in each, and what to say about them."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from client.errors import LocalError
from client.pki_certificate import distance, moment, serial_text, subject_text
from client.pki_directory import put_files
from client.pki_extensions import alternative_names
from client.pki_key import key_pem

if TYPE_CHECKING:
    from client.api import JsonObject
    from client.pki_verify import Issued

_BUNDLE = "bundle.p12"


def names_of(*, pkcs12: bool) -> set[str]:
    """Which files there will be."""
    return {"key.pem", "cert.pem", "chain.pem", "fullchain.pem", "ca.pem"} | ({_BUNDLE} if pkcs12 else set())


def write_files(
    directory: str, issued: "Issued", key: Any, *, password: bytes, now: datetime, overwrite: bool
) -> "JsonObject":
    """Put them in place, and tell where they are."""
    files = contents(issued, key) | ({_BUNDLE: _bundle(issued, key, password)} if password else {})
    put_files(directory, files, private={"key.pem", _BUNDLE}, now=now, overwrite=overwrite)
    end = issued.certificate.not_valid_after_utc
    return {
        "serial_number": serial_text(issued.certificate.serial_number),
        "subject": subject_text(issued.certificate.subject),
        "names": alternative_names(issued.certificate.extensions),
        "not_after": moment(end),
        "ends": distance(end, now),
        "files": {name: str(Path(directory) / name) for name in files},
    }


def contents(issued: "Issued", key: Any) -> dict[str, bytes]:
    """Each file's bytes: chain.pem has what a server sends along, ca.pem what the other side trusts."""
    certificate = issued.certificate.public_bytes(Encoding.PEM)
    chain = b"".join(ca.public_bytes(Encoding.PEM) for ca in issued.intermediates)
    anchors = b"".join(ca.public_bytes(Encoding.PEM) for ca in issued.anchors)
    return {
        "key.pem": key_pem(key),
        "cert.pem": certificate,
        "chain.pem": chain,
        "fullchain.pem": certificate + chain,
        "ca.pem": anchors,
    }


def _bundle(issued: "Issued", key: Any, password: bytes) -> bytes:
    try:
        return serialize_key_and_certificates(
            b"", key, issued.certificate, list(issued.intermediates), BestAvailableEncryption(password)
        )
    except (TypeError, ValueError) as exc:
        raise LocalError("PKCS #12 does not hold keys of this kind: leave out --pkcs12") from exc

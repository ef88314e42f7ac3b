"""What is answered about a CA: certificates, requests and (once) private keys, in the format that was asked for."""

from base64 import b64encode
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from core.requests import Request
from pki.authority import Issuer, Urls
from pki.ca_asked import CaBody
from pki.ca_keys import ChosenKey
from pki.formats import Wanted, key_type_of, pem_of, private_bytes
from pki.plan import Origin

NO_URLS = (
    "This mount hasn't configured any authority information access (AIA) fields; this may make it harder for systems to"
    " find missing certificates in the chain or to validate revocation status of certificates. Consider updating"
    " /config/urls or the newly generated issuer with this information."
)


def origin_of(request: Request, way: str) -> Origin:
    """Who asked for a CA certificate, and how."""
    caller = request.caller
    return Origin(
        way=way,
        requester=caller.display_name if caller is not None else "",
        entity_id=caller.entity_id if caller is not None else "",
        request_id=request.request_id,
    )


def about_urls(urls: Urls) -> list[str]:
    """Vault's warning of certificates that do not say where their revocation is found."""
    return [NO_URLS] if urls.is_empty else []


def about_key(chosen: ChosenKey) -> dict[str, Any]:
    """Which key, and where it works: "hsm" or "sealed"."""
    return {"key_id": chosen.key.key_id, "key_name": chosen.key.name, "custody": chosen.key.key.custody.value}


def private_key_of(chosen: ChosenKey, body: CaBody) -> dict[str, Any]:
    """The private key of one that is shown, in base64 (der) or PEM; nothing of any other."""
    if chosen.private is None:
        return {}
    wanted = Wanted(is_pkcs8=body.private_key_format == "pkcs8")
    if body.format == "der":
        text = b64encode(private_bytes(chosen.private, Encoding.DER, wanted)).decode()
    else:
        text = private_bytes(chosen.private, Encoding.PEM, wanted).decode().rstrip("\n")
    return {"private_key": text, "private_key_type": key_type_of(chosen.private)}


def with_key(text: str, shown: dict[str, Any], body: CaBody) -> str:
    """A PEM with the private key before it where a bundle was asked for."""
    if body.format != "pem_bundle" or "private_key" not in shown:
        return text
    return f"{shown['private_key']}\n{text}"


def certificate_text(der: bytes, body: CaBody) -> str:
    """A certificate as PEM without a line break at the end, or in base64."""
    return b64encode(der).decode() if body.format == "der" else pem_of(der)


def issuer_text(issuer: Issuer, body: CaBody) -> str:
    """The certificate of an issuer, likewise."""
    return certificate_text(issuer.row.certificate, body)

"""Key usages, extended key usages and policies: the words that Vault's API takes, and what they are in X.509."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.errors import InvalidRequestError

_KEY_USAGES = {
    "digitalsignature": "digital_signature",
    "contentcommitment": "content_commitment",
    "keyencipherment": "key_encipherment",
    "dataencipherment": "data_encipherment",
    "keyagreement": "key_agreement",
    "certsign": "key_cert_sign",
    "crlsign": "crl_sign",
    "encipheronly": "encipher_only",
    "decipheronly": "decipher_only",
}
_EXT_KEY_USAGES = {
    "any": "2.5.29.37.0",
    "serverauth": "1.3.6.1.5.5.7.3.1",
    "clientauth": "1.3.6.1.5.5.7.3.2",
    "codesigning": "1.3.6.1.5.5.7.3.3",
    "emailprotection": "1.3.6.1.5.5.7.3.4",
    "ipsecendsystem": "1.3.6.1.5.5.7.3.5",
    "ipsectunnel": "1.3.6.1.5.5.7.3.6",
    "ipsecuser": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocspsigning": "1.3.6.1.5.5.7.3.9",
    "microsoftservergatedcrypto": "1.3.6.1.4.1.311.10.3.3",
    "netscapeservergatedcrypto": "2.16.840.1.113730.4.1",
}
_ORDER = tuple(_KEY_USAGES.values())
_SIGNING = frozenset({"digital_signature", "content_commitment", "key_cert_sign", "crl_sign"})
# what a key of a type can do: RFC 3279, 2.3.1 (RSA), RFC 5480, 3 (EC); others only sign (RFC 8410, 5; RFC 9881, 5)
_OF_RSA = _SIGNING | {"key_encipherment", "data_encipherment"}
_OF_EC = _SIGNING | {"key_agreement", "encipher_only", "decipher_only"}
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,37})){1,126}")
SIGNATURE_BITS = (0, 256, 384, 512)  # of the hash; 0: what fits the key of the issuer
_CA_ONLY = frozenset({"key_cert_sign"})


def parse_oid(text: str) -> x509.ObjectIdentifier:
    """An object identifier in its dotted form. Raises InvalidRequestError."""
    try:
        if _OID.fullmatch(text):
            return x509.ObjectIdentifier(text)
    except ValueError:
        pass
    raise InvalidRequestError(f"{text[:64]!r} is no object identifier: write 1.3.6.1.…")


def key_usages(words: Iterable[str]) -> frozenset[str]:
    """By the names of cryptography's members; unknown words are passed over, as Vault does."""
    found = (_KEY_USAGES.get(word.strip().lower()) for word in words)
    return frozenset(name for name in found if name)


def named_in(usage: x509.KeyUsage) -> frozenset[str]:
    """Those of an extension, by the names of cryptography's members."""
    both = {"encipher_only", "decipher_only"}  # asking for them without key_agreement is an error there
    asked = _ORDER if usage.key_agreement else (name for name in _ORDER if name not in both)
    return frozenset(name for name in asked if getattr(usage, name))


def unknown_key_usages(words: Iterable[str]) -> list[str]:
    """Those that mean nothing."""
    return [word for word in words if word.strip().lower() not in _KEY_USAGES]


def unknown_ext_key_usages(words: Iterable[str]) -> list[str]:
    """Those that mean nothing."""
    return [word for word in words if word.strip().lower() not in _EXT_KEY_USAGES]


@lru_cache(maxsize=256)
def key_usage(wanted: frozenset[str], key_type: type) -> x509.KeyUsage | None:
    """What a leaf's extension says, None for none: as far as a key of that type can do it.

    Raises InvalidRequestError when something is wanted and nothing of it is left: no extension would allow everything.
    """
    if not wanted:
        return None
    able = _SIGNING
    if issubclass(key_type, rsa.RSAPublicKey):
        able = _OF_RSA
    elif issubclass(key_type, ec.EllipticCurvePublicKey):
        able = _OF_EC
    names = (wanted & able) - _CA_ONLY
    if "key_agreement" not in names:  # RFC 5280, 4.2.1.3: the two say nothing without it
        names -= {"encipher_only", "decipher_only"}
    if not names:
        raise InvalidRequestError("the key usages of the role leave nothing that a key of this type can do in a leaf")
    return with_usages(names)


def with_usages(names: frozenset[str]) -> x509.KeyUsage:
    """The extension that says these, by the names of cryptography's members."""
    return x509.KeyUsage(**{name: name in names for name in _ORDER})


def ext_key_usages(words: Iterable[str], oids: Iterable[str]) -> tuple[x509.ObjectIdentifier, ...]:
    """Without repetition. Unknown words are passed over, as Vault does. Raises InvalidRequestError for a bad OID."""
    known = (_EXT_KEY_USAGES.get(word.strip().lower()) for word in words)
    return tuple(parse_oid(oid) for oid in dict.fromkeys([*(oid for oid in known if oid), *oids]))


# --- policies -----------------------------------------------------------------------------------------------------


def policies(written: Iterable[str]) -> tuple[x509.PolicyInformation, ...]:
    """Each is an OID, or {"oid": …, "notice": …, "cps": …} in JSON. Raises InvalidRequestError."""
    return tuple(_policy(one) for one in written)


def _policy(written: str) -> x509.PolicyInformation:
    if not written.lstrip().startswith("{"):
        return x509.PolicyInformation(parse_oid(written.strip()), None)
    try:
        found: Any = json.loads(written)
    except (ValueError, RecursionError):
        raise InvalidRequestError('a policy is an OID, or an object with "oid" and maybe "notice" and "cps"') from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidRequestError('a policy is an OID, or an object with "oid" and maybe "notice" and "cps"')
    cps, notice = found.get("cps", ""), found.get("notice", "")
    if not (cps.isascii() and cps.isprintable() and notice.isprintable()):  # IA5String, DisplayText (4.2.1.4)
        raise InvalidRequestError("the cps of a policy is a URI in ASCII, its notice a text without control characters")
    qualifiers: list[str | x509.UserNotice] = []
    if cps:
        qualifiers.append(cps)
    if notice:
        qualifiers.append(x509.UserNotice(None, notice))
    return x509.PolicyInformation(parse_oid(found.get("oid", "").strip()), qualifiers or None)

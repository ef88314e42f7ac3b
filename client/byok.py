"""Bring your own key: key files in any usual encoding, and the ciphertext in which Vault's API takes a key.

The ciphertext is an AES-256 key of its own under the mount's RSA wrapping key (RSAES-OAEP, RFC 8017, 7.1), followed by
the key material under that AES key (AES-KWP, RFC 5649). The material is not sent in any other form.
"""

import base64
import binascii
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from client.errors import LocalError, NoAnswerError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

ENCODINGS = ("auto", "raw", "base64", "hex", "pem", "der")
HASHES = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512")
_SIZES = {"aes128-gcm96": 16, "aes256-gcm96": 32, "chacha20-poly1305": 32, "xchacha20-poly1305": 32, "aes256-cmac": 32}
_HMAC_SIZES = range(32, 513)
_KEY_BYTES = 32
_SMALLEST_MODULUS = 2048  # bits


def key_material(content: bytes, *, type_name: str, encoding: str) -> bytes:
    """What is wrapped: bytes of a symmetric key, PKCS #8 in DER of a key pair. LocalError never shows any of it."""
    is_pem = encoding == "pem" or (encoding == "auto" and b"-----BEGIN " in content)
    if type_name in _SIZES or type_name == "hmac":
        if is_pem:
            raise LocalError(f"a key of type {type_name} is not in PEM: that is a key pair, of another --type")
        sizes = _HMAC_SIZES if type_name == "hmac" else (_SIZES[type_name],)
        return _symmetric(content, sizes=sizes, type_name=type_name, encoding=encoding)
    if is_pem:
        return _pkcs8(content, is_pem=True)
    if encoding in {"base64", "hex"}:
        content = _decodings(content)[encoding]()
    return _pkcs8(content, is_pem=False)


def _symmetric(content: bytes, *, sizes: "tuple[int, ...] | range", type_name: str, encoding: str) -> bytes:
    """The one reading of the file that has a right length; a file that can be read in two ways is not guessed at."""
    if encoding == "der":
        raise LocalError(f"a key of type {type_name} is no DER: give it raw, in base64 or in hex")
    readings = _decodings(content)
    if encoding != "auto":
        material = readings[encoding]()
        if len(material) not in sizes:
            raise LocalError(_wrong_length(type_name, sizes))
        return material
    fitting = set()
    for reading in readings.values():
        try:
            fitting.add(reading())
        except LocalError:
            continue
    fitting = {material for material in fitting if len(material) in sizes}
    if not fitting:
        raise LocalError(_wrong_length(type_name, sizes))
    if len(fitting) > 1:
        raise LocalError("the key file can be read in more than one way: say which with --encoding raw, base64 or hex")
    return fitting.pop()


def _wrong_length(type_name: str, sizes: "tuple[int, ...] | range") -> str:
    lengths = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"the key file does not hold the {lengths} bytes of a key of type {type_name}, raw, in base64 or in hex"


def _decodings(content: bytes) -> dict[str, Callable[[], bytes]]:
    compact = b"".join(content.split())
    return {
        "raw": lambda: content,
        "base64": lambda: _decode(lambda: base64.b64decode(compact, validate=True), "base64"),
        "hex": lambda: _decode(lambda: binascii.unhexlify(compact), "hex"),
    }


def _decode(decode: Callable[[], bytes], name: str) -> bytes:
    try:
        return decode()
    except ValueError:
        raise LocalError(f"the key file is not {name}") from None


def _pkcs8(content: bytes, *, is_pem: bool) -> bytes:
    """A private key of PKCS #1, SEC 1 or PKCS #8 as PKCS #8 in DER."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    load = form.load_pem_private_key if is_pem else form.load_der_private_key
    try:
        key = load(content, None)
    except TypeError:
        raise LocalError(
            "the key file is encrypted: decrypt it into the pipe, as in "
            "`openssl pkcs8 -in key.pem | mimir transit key import NAME --key -`"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise LocalError("the key file holds no private key that can be read: give it in PEM or DER") from None
    return key.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())


def wrapped_key(material: bytes, wrapping_key: str, *, hash_name: str) -> str:
    """The ciphertext of an import, in base64. `wrapping_key` is the PEM that the appliance gave."""
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

    public_key = _load_wrapping_key(wrapping_key)
    ephemeral = secrets.token_bytes(_KEY_BYTES)
    algorithm = _hash(hash_name)
    sealed = public_key.encrypt(ephemeral, OAEP(mgf=MGF1(algorithm), algorithm=algorithm, label=None))
    return base64.b64encode(sealed + aes_key_wrap_with_padding(ephemeral, material)).decode("ascii")


def _hash(name: str) -> "HashAlgorithm":
    from cryptography.hazmat.primitives import hashes

    table: dict[str, HashAlgorithm] = {
        "SHA1": hashes.SHA1(),  # noqa: S303 - of OAEP, where its collisions do no harm; old peers ask for it
        "SHA224": hashes.SHA224(),
        "SHA256": hashes.SHA256(),
        "SHA384": hashes.SHA384(),
        "SHA512": hashes.SHA512(),
    }
    return table[name]


def _load_wrapping_key(pem: str) -> "RSAPublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise NoAnswerError("the wrapping key in the answer is no public key: is this a transit engine?") from exc
    if not isinstance(key, RSAPublicKey) or key.key_size < _SMALLEST_MODULUS:
        raise NoAnswerError(f"the wrapping key in the answer is no RSA key of {_SMALLEST_MODULUS} bits or more")
    return key

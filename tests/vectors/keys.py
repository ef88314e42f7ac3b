"""Published numbers as keys: PKCS #8 for import, SubjectPublicKeyInfo for verification."""

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from core.protocols import KeyKind
from core.secret import Secret

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
EC_KINDS = {"P-256": KeyKind.EC_P256, "P-384": KeyKind.EC_P384, "P-521": KeyKind.EC_P521}
RSA_KINDS = {2048: KeyKind.RSA_2048, 3072: KeyKind.RSA_3072, 4096: KeyKind.RSA_4096}
HASHES = {"SHA-1": "sha1", "SHA-224": "sha224", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def spki(public):
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pkcs8(private):
    return Secret(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def ec_public(curve, x, y):
    """ValueError for a point that is not on the curve."""
    return spki(ec.EllipticCurvePublicNumbers(x, y, CURVES[curve]).public_key())


def ec_private(curve, scalar):
    return pkcs8(ec.derive_private_key(scalar, CURVES[curve]))


def rsa_public(modulus, exponent):
    return spki(rsa.RSAPublicNumbers(exponent, modulus).public_key())


def rsa_private(p, q, exponent):
    d = rsa.rsa_recover_private_exponent(exponent, p, q)
    public = rsa.RSAPublicNumbers(exponent, p * q)
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return pkcs8(rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key())


def pem(der):
    return load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

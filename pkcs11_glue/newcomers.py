"""Key pairs made elsewhere, as the attributes that C_CreateObject takes."""

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from pkcs11.constants import Attribute

from core.errors import InvalidRequestError
from core.protocols import KeyKind
from core.secret import Secret
from pkcs11_glue import templates


def private_attributes(kind: KeyKind, material: Secret) -> dict[Attribute, bytes]:
    """Of a PKCS #8 document in DER, which was checked to be a key of this kind."""
    key = load_der_private_key(material.expose(), password=None, unsafe_skip_rsa_key_validation=True)  # it was checked
    match key:
        case rsa.RSAPrivateKey():
            return rsa_attributes(key.private_numbers())
        case ec.EllipticCurvePrivateKey():
            value = key.private_numbers().private_value.to_bytes((key.curve.key_size + 7) // 8, "big")
            return {Attribute.EC_PARAMS: templates.EC_PARAMETERS[kind], Attribute.VALUE: value}
        case _:
            raise InvalidRequestError(f"the key is not one of type {kind.value}")


def rsa_attributes(numbers: rsa.RSAPrivateNumbers) -> dict[Attribute, bytes]:
    """With the parts for the Chinese remainder theorem (RFC 8017, 3.2): without them RSA takes four times as long."""
    public = numbers.public_numbers
    integers = {
        Attribute.MODULUS: public.n,
        Attribute.PUBLIC_EXPONENT: public.e,
        Attribute.PRIVATE_EXPONENT: numbers.d,
        Attribute.PRIME_1: numbers.p,
        Attribute.PRIME_2: numbers.q,
        Attribute.EXPONENT_1: numbers.dmp1,
        Attribute.EXPONENT_2: numbers.dmq1,
        Attribute.COEFFICIENT: numbers.iqmp,
    }
    return {name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in integers.items()}

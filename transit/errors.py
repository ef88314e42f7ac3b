"""What can go wrong in transit, beside the words all parts share."""

from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError


class UnknownKeyError(InvalidRequestError):
    """No key of that name; Vault answers 400, not 404, where a key is to be used."""


class KeyVersionError(InvalidRequestError):
    """The key has no such version, or its configuration retires it."""


class UsageExhaustedError(KeyPolicyError):
    """A key version has encrypted as often as its nonces allow."""


class SupersededError(UsageExhaustedError):
    """A key version has, and a newer one may be used instead: who did not ask for that version is not refused."""


class MalformedCiphertextError(CiphertextError):
    """Not a ciphertext of transit; a fact that anybody can see, so the sentence says what is wrong."""


def forged() -> CiphertextError:
    """The one answer for everything that does not authenticate."""
    return CiphertextError("invalid ciphertext: unable to decrypt")

"""The cryptographic operations of one session: AES-GCM, HMAC, signatures. Each costs two C calls.

The hot path of the appliance: the structures and the output buffer of a session are made once and reused, so a session
is used by one thread at a time (as PKCS#11 demands anyway).
"""

import os
from collections.abc import Mapping, Sequence
from ctypes import addressof, c_ulong, create_string_buffer, memset
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11.mechanisms import MGF, Mechanism

from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, SignatureScheme
from pkcs11_glue.cryptoki import CkGcmParams, CkMechanism, CkRsaPssParams, CryptokiError, Functions, mechanism
from pkcs11_glue.errors import BAD_CIPHERTEXT_CODES, Verdict, verdict
from pkcs11_glue.session import HsmSession

NONCE_BYTES = 12
TAG_BYTES = 16
MAX_PAYLOAD_BYTES = 1 << 20  # SoftHSM holds a payload four to six times in memory; larger ones go by data key
_BUFFER_BYTES = 1 << 16

HMACS = {
    "sha1": Mechanism.SHA_1_HMAC,
    "sha224": Mechanism.SHA224_HMAC,
    "sha256": Mechanism.SHA256_HMAC,
    "sha384": Mechanism.SHA384_HMAC,
    "sha512": Mechanism.SHA512_HMAC,
}
DIGEST_BYTES = {"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
_DIGESTS = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha224": (Mechanism.SHA224, MGF.SHA224),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}
# what stands before the digest in a DigestInfo (RFC 8017, 9.2, note 1)
_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
T = TypeVar("T")

_BAD_CIPHERTEXT = "the ciphertext is malformed, was altered, or belongs to another key or context"


class Operations:
    """Operations on one session, with the memory they reuse."""

    __slots__ = (
        "_buffer",
        "_buffer_address",
        "_decrypt",
        "_decrypt_init",
        "_encrypt",
        "_encrypt_init",
        "_gcm",
        "_gcm_address",
        "_gcm_mechanism",
        "_known_answer",
        "_length",
        "_length_address",
        "_probe_key",
        "_sign_data",
        "_sign_init",
        "_view",
        "session",
    )

    def __init__(self, functions: Functions, session: HsmSession) -> None:
        self.session = session
        # bound once: a look-up less for each call, and they read the function list at each call all the same
        self._encrypt_init, self._encrypt = functions.C_EncryptInit, functions.C_Encrypt
        self._decrypt_init, self._decrypt = functions.C_DecryptInit, functions.C_Decrypt
        self._sign_init, self._sign_data = functions.C_SignInit, functions.C_Sign
        self._gcm = CkGcmParams(iv_length=NONCE_BYTES, iv_bits=NONCE_BYTES * 8, tag_bits=TAG_BYTES * 8)
        self._gcm_mechanism = mechanism(Mechanism.AES_GCM, self._gcm)
        self._gcm_address = addressof(self._gcm_mechanism)
        self._length = c_ulong()
        self._length_address = addressof(self._length)
        self._probe_key = 0
        self._known_answer = b""
        self._grow(_BUFFER_BYTES)

    def _grow(self, size: int) -> None:
        self._buffer = create_string_buffer(size)
        self._buffer_address = addressof(self._buffer)
        self._view = memoryview(self._buffer).cast("B")

    def _shrink(self) -> None:
        """Do not keep a large buffer for each session of the pool."""
        if len(self._view) > _BUFFER_BYTES:
            self._grow(_BUFFER_BYTES)

    # --- AES-GCM --------------------------------------------------------------------------------------------------

    def encrypt(self, key: int, items: Sequence[AeadInput]) -> list[bytes]:
        """AES-GCM (SP 800-38D) under a fresh random nonce each: nonce, ciphertext, tag."""
        nonces = os.urandom(NONCE_BYTES * len(items))
        encrypted: list[bytes] = []
        start = 0
        for item in items:
            nonce = nonces[start : start + NONCE_BYTES]
            start += NONCE_BYTES
            encrypted.append(nonce + self.encrypt_with_nonce(key, nonce, item.payload, item.associated_data))
        self._shrink()
        return encrypted

    def encrypt_with_nonce(self, key: int, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Ciphertext and tag under a given nonce: for `encrypt`, and for published vectors. Never reuse a nonce."""
        self._set_gcm(nonce, associated_data)
        size = len(plaintext)
        if size + TAG_BYTES > len(self._view):
            self._grow(size + TAG_BYTES)
        handle = self.session.handle
        code = self._encrypt_init(handle, self._gcm_address, key)
        if code:
            raise CryptokiError("C_EncryptInit", code)
        self._length.value = size + TAG_BYTES
        code = self._encrypt(handle, plaintext, size, self._buffer_address, self._length_address)
        if code:
            raise CryptokiError("C_Encrypt", code)
        return self._view[: self._length.value].tobytes()

    def decrypt(self, key: int, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        """Undo `encrypt`; one that does not authenticate is a CiphertextError in its place."""
        decrypted = [self._decrypt_or_refuse(key, item.payload, item.associated_data) for item in items]
        self._shrink()
        return decrypted

    def _decrypt_or_refuse(self, key: int, sealed: bytes, associated_data: bytes) -> bytes | CiphertextError:
        if len(sealed) < NONCE_BYTES + TAG_BYTES:
            return CiphertextError(_BAD_CIPHERTEXT)
        try:
            return self._decrypt_once(key, sealed, associated_data)
        except CryptokiError as exc:
            if not _may_be_ciphertext(exc):
                raise
            if exc.code not in BAD_CIPHERTEXT_CODES and not self.is_healthy():
                raise
        try:  # the HSM works now: was it the ciphertext, or a passing fault of the HSM?
            return self._decrypt_once(key, sealed, associated_data)
        except CryptokiError as exc:
            if not _may_be_ciphertext(exc):
                raise
            return CiphertextError(_BAD_CIPHERTEXT)

    def _decrypt_once(self, key: int, sealed: bytes, associated_data: bytes) -> bytes:
        self._set_gcm(sealed[:NONCE_BYTES], associated_data)
        ciphertext = sealed[NONCE_BYTES:]
        size = len(ciphertext)
        if size > len(self._view):
            self._grow(size)
        handle = self.session.handle
        code = self._decrypt_init(handle, self._gcm_address, key)
        if code:
            raise CryptokiError("C_DecryptInit", code)
        self._length.value = size
        code = self._decrypt(handle, ciphertext, size, self._buffer_address, self._length_address)
        if code:
            raise CryptokiError("C_Decrypt", code)
        plaintext = self._view[: self._length.value].tobytes()
        memset(self._buffer_address, 0, size)
        return plaintext

    def _set_gcm(self, nonce: bytes, associated_data: bytes) -> None:
        gcm = self._gcm
        gcm.iv = nonce
        gcm.associated_data = associated_data  # never NULL, not even when empty: some modules crash on that
        gcm.associated_data_length = len(associated_data)

    # --- MAC and signatures ---------------------------------------------------------------------------------------

    def mac(self, key: int, messages: Sequence[bytes], *, hash_name: str) -> list[bytes]:
        """HMAC (FIPS 198-1)."""
        how = mechanism(_known(HMACS, hash_name))
        return [self._sign(key, how, message, DIGEST_BYTES[hash_name]) for message in messages]

    def sign(self, key: int, digests: Sequence[bytes], *, scheme: SignatureScheme, hash_name: str) -> list[bytes]:
        """Sign digests of `hash_name`. ECDSA as DER (RFC 3279, 2.2.3); PSS with a salt of the digest's length."""
        expected = _known(DIGEST_BYTES, hash_name)
        if any(len(digest) != expected for digest in digests):
            raise InvalidRequestError(f"a {hash_name} digest has {expected} bytes")
        match scheme:
            case SignatureScheme.ECDSA:
                how = mechanism(Mechanism.ECDSA)
                return [ecdsa_der(self._sign(key, how, digest)) for digest in digests]
            case SignatureScheme.RSA_PKCS1V15:
                how, prefix = mechanism(Mechanism.RSA_PKCS), _DIGEST_INFO[hash_name]
                return [self._sign(key, how, prefix + digest) for digest in digests]
            case SignatureScheme.RSA_PSS:
                hash_mechanism, mgf = _DIGESTS[hash_name]
                parameters = CkRsaPssParams(int(hash_mechanism), int(mgf), expected)
                how = mechanism(Mechanism.RSA_PKCS_PSS, parameters)
                return [self._sign(key, how, digest) for digest in digests]
            case SignatureScheme.ED25519:
                raise KeyPolicyError("this key cannot sign by Ed25519")

    def _sign(self, key: int, how: CkMechanism, data: bytes, size: int = 1024) -> bytes:
        handle = self.session.handle
        code = self._sign_init(handle, addressof(how), key)
        if code:
            raise CryptokiError("C_SignInit", code)
        self._length.value = size
        code = self._sign_data(handle, data, len(data), self._buffer_address, self._length_address)
        if code:
            raise CryptokiError("C_Sign", code)
        return self._view[: self._length.value].tobytes()

    # --- health ---------------------------------------------------------------------------------------------------

    def set_probe(self, key: int, known_answer: bytes) -> None:
        """The key and the answer that `is_healthy` asks for."""
        self._probe_key, self._known_answer = key, known_answer

    def is_healthy(self) -> bool:
        """Whether a known-answer encryption succeeds: tells a bad ciphertext from a bad HSM."""
        try:
            return self.encrypt_with_nonce(self._probe_key, bytes(NONCE_BYTES), b"", b"") == self._known_answer
        except CryptokiError:
            return False


def _may_be_ciphertext(error: CryptokiError) -> bool:
    """Whether C_Decrypt may have meant the ciphertext; SoftHSM 2.6.1 says CKR_GENERAL_ERROR of a forged tag."""
    if error.function != "C_Decrypt":
        return False
    return error.code in BAD_CIPHERTEXT_CODES or verdict(error.code) is Verdict.UNCLEAR


def ecdsa_der(signature: bytes) -> bytes:
    """PKCS#11's r and s, of equal length side by side, as ECDSA-Sig-Value (RFC 3279, 2.2.3)."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))


def _known(table: Mapping[str, T], hash_name: str) -> T:
    try:
        return table[hash_name]
    except KeyError:
        raise InvalidRequestError(f"the hash must be one of {', '.join(table)}") from None

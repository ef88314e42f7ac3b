"""The cryptographic operations of one session: AES-GCM, MACs, signatures, RSA decryption. Each costs two C calls.

The hot path of the appliance: the structures and the output buffer of a session are made once and reused, so a session
is used by one thread at a time (as PKCS#11 demands anyway).
"""

import os
from collections.abc import Callable, Sequence
from ctypes import addressof, c_ulong, create_string_buffer, memset

from pkcs11.mechanisms import Mechanism

from core.errors import CiphertextError, KeyPolicyError
from core.protocols import AeadInput, KeyKind
from pkcs11_glue import derivation, oaep
from pkcs11_glue.cryptoki import CkGcmParams, CryptokiError, Functions, mechanism
from pkcs11_glue.errors import BAD_CIPHERTEXT_CODES, Verdict, bad_ciphertext, verdict
from pkcs11_glue.macs import MacMethod, mac_method
from pkcs11_glue.rsa_decryption import OaepMethod
from pkcs11_glue.session import HsmSession
from pkcs11_glue.signing import SigningMethod

NONCE_BYTES = 12
TAG_BYTES = 16
MAX_PAYLOAD_BYTES = 1 << 20  # SoftHSM holds a payload four to six times in memory; larger ones go by data key
MAX_CIPHERTEXT_BYTES = MAX_PAYLOAD_BYTES + NONCE_BYTES + TAG_BYTES
_BUFFER_BYTES = 1 << 16
_NONCES_AT_ONCE = 256
_LONGEST_SIGNATURE = 1024
_NONCE_MAC = mac_method(KeyKind.HMAC, "sha256")


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
        "_nonces",
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
        self._nonces: list[bytes] = []  # drawn ahead; each is taken out before it is used
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
        encrypted: list[bytes] = []
        for item in items:
            nonce = self._nonces.pop() if self._nonces else self._draw()
            encrypted.append(nonce + self.encrypt_with_nonce(key, nonce, item.payload, item.associated_data))
        self._shrink()
        return encrypted

    def _draw(self) -> bytes:
        """A nonce, and more for the next ones: the system is asked once for many. No process forks after this."""
        drawn = os.urandom(NONCE_BYTES * _NONCES_AT_ONCE)
        self._nonces = [drawn[start : start + NONCE_BYTES] for start in range(0, len(drawn), NONCE_BYTES)]
        return self._nonces.pop()

    def encrypt_convergent(self, key: int, nonce_key: int, items: Sequence[AeadInput]) -> list[bytes]:
        """AES-GCM under the nonce that the inputs themselves give (HMAC-SHA-256, its first bytes)."""
        encrypted: list[bytes] = []
        for item, mac in zip(items, self.mac(nonce_key, derivation.nonce_inputs(items), _NONCE_MAC), strict=True):
            nonce = mac[:NONCE_BYTES]
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
            return bad_ciphertext()
        try:
            return self._decrypt_once(key, sealed, associated_data)
        except CryptokiError as exc:
            return self._settle(exc, lambda: self._decrypt_once(key, sealed, associated_data))

    def _settle(self, error: CryptokiError, again: Callable[[], bytes]) -> bytes | CiphertextError:
        """Whether a failed decryption is the ciphertext's fault; raises CryptokiError when it is the HSM's."""
        if not _may_be_ciphertext(error) or (error.code not in BAD_CIPHERTEXT_CODES and not self.is_healthy()):
            raise error
        try:  # the HSM works now: was it the ciphertext, or a passing fault of the HSM?
            return again()
        except CryptokiError as exc:
            if not _may_be_ciphertext(exc):
                raise
            return bad_ciphertext()

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

    def mac(self, key: int, messages: Sequence[bytes], how: MacMethod) -> list[bytes]:
        """One MAC for each message."""
        address, size = how.address, how.size
        return [self._sign(key, address, message, size) for message in messages]

    def sign(self, key: int, digests: Sequence[bytes], how: SigningMethod) -> list[bytes]:
        """One signature for each digest; their lengths were checked by `how`."""
        address, before, after = how.address, how.before, how.after
        if before is not None:
            digests = [before(digest) for digest in digests]
        signatures = [self._sign(key, address, digest, _LONGEST_SIGNATURE) for digest in digests]
        return signatures if after is None else [after(signature) for signature in signatures]

    def _sign(self, key: int, mechanism_address: int, data: bytes, size: int) -> bytes:
        handle = self.session.handle
        code = self._sign_init(handle, mechanism_address, key)
        if code:
            raise CryptokiError("C_SignInit", code)
        self._length.value = size
        code = self._sign_data(handle, data, len(data), self._buffer_address, self._length_address)
        if code:
            raise CryptokiError("C_Sign", code)
        return self._view[: self._length.value].tobytes()

    # --- RSA decryption -------------------------------------------------------------------------------------------

    def decrypt_oaep(
        self, key: int, ciphertexts: Sequence[bytes], how: OaepMethod, modulus: int
    ) -> list[bytes | CiphertextError]:
        """RSAES-OAEP (RFC 8017, 7.1.2); whatever is wrong with a ciphertext, the error in its place is the same."""
        return [self._decrypt_oaep_or_refuse(key, ciphertext, how, modulus) for ciphertext in ciphertexts]

    def _decrypt_oaep_or_refuse(
        self, key: int, ciphertext: bytes, how: OaepMethod, modulus: int
    ) -> bytes | CiphertextError:
        size = (modulus.bit_length() + 7) // 8
        if len(ciphertext) != size or int.from_bytes(ciphertext, "big") >= modulus:
            return bad_ciphertext()
        if how.is_raw:  # every number below the modulus has a result, so an error is the HSM's
            encoded = self._decrypt_rsa(key, how.address, ciphertext).rjust(size, b"\0")
            message = oaep.unpad(encoded, how.hash_name)
            return bad_ciphertext() if message is None else message
        try:
            return self._decrypt_rsa(key, how.address, ciphertext)
        except CryptokiError as exc:
            return self._settle(exc, lambda: self._decrypt_rsa(key, how.address, ciphertext))

    def _decrypt_rsa(self, key: int, mechanism_address: int, ciphertext: bytes) -> bytes:
        handle = self.session.handle
        code = self._decrypt_init(handle, mechanism_address, key)
        if code:
            raise CryptokiError("C_DecryptInit", code)
        self._length.value = size = len(ciphertext)
        code = self._decrypt(handle, ciphertext, size, self._buffer_address, self._length_address)
        if code:
            raise CryptokiError("C_Decrypt", code)
        plaintext = self._view[: self._length.value].tobytes()
        memset(self._buffer_address, 0, size)
        return plaintext

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


def weigh(items: Sequence[AeadInput], limit: int) -> int:
    """The bytes of a batch. Raises KeyPolicyError for a payload over the limit, or a context."""
    size = 0
    for item in items:
        length = len(item.payload)
        if length > limit:
            raise KeyPolicyError(f"a payload may have at most {limit} bytes inside the HSM; use a data key for more")
        if item.context:
            raise KeyPolicyError("this key is not a derived one: leave the context out")
        size += length + len(item.associated_data)
    return size

"""Key pairs of leaves: made in memory, handed out once with the certificate, and kept nowhere.

They come from OpenSSL's generator in this process (SP 800-90A, 10.2.1). The HSM has no part in it: it could not hand
them out, and a service that wants its key in hardware sends a CSR.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from core.errors import InvalidRequestError, QuotaExceededError

_CURVES: dict[int, type[ec.EllipticCurve]] = {
    256: ec.SECP256R1,
    384: ec.SECP384R1,
    521: ec.SECP521R1,
}
_ML_DSA: dict[int, Callable[[], PrivateKeyTypes]] = {
    44: mldsa.MLDSA44PrivateKey.generate,
    65: mldsa.MLDSA65PrivateKey.generate,
    87: mldsa.MLDSA87PrivateKey.generate,
}
_RSA_BITS = (2048, 3072, 4096)
_EXPONENT = 65537
_DEFAULT_BITS = {"rsa": 2048, "ec": 256, "ml-dsa": 65}

# RSA keys take 35 ms to seconds of a core. One thread a worker leaves the cores to who asks for anything else;
# OpenSSL lets go of the interpreter meanwhile (other requests wait 5 ms at most, measured with 4096 bits).
_THREADS = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leaf-keys")
_MAX_WAITING = 64  # the last of them waits for seconds with 2048 bits


class LeafKeys:
    """Makes them for one mount."""

    def __init__(self) -> None:
        self._waiting = 0

    async def generate(self, key_type: str, key_bits: int = 0) -> PrivateKeyTypes:
        """A new private key: rsa, ec, ed25519 or ml-dsa; `key_bits` 0 is the type's default (of ml-dsa: 44, 65, 87).

        Raises InvalidRequestError, and QuotaExceededError when too many wait for an RSA key.
        """
        bits = key_bits or _DEFAULT_BITS.get(key_type, 0)
        if key_type == "ec" and bits in _CURVES:
            return ec.generate_private_key(_CURVES[bits]())
        if key_type == "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        if key_type == "ml-dsa" and bits in _ML_DSA:
            return _ML_DSA[bits]()
        if key_type == "rsa" and bits in _RSA_BITS:
            return await self._rsa(bits)
        raise InvalidRequestError(f"no key is made of type {key_type[:64]!r} with {bits} bits")

    async def _rsa(self, bits: int) -> PrivateKeyTypes:
        if self._waiting >= _MAX_WAITING:
            raise QuotaExceededError("too many requests wait for RSA keys; send a CSR, use EC keys, or try again")
        self._waiting += 1
        try:
            # a caller who goes away before his turn takes his place in the line with him
            return await asyncio.get_running_loop().run_in_executor(_THREADS, rsa.generate_private_key, _EXPONENT, bits)
        finally:
            self._waiting -= 1

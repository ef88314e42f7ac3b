"""Microseconds of single HSM operations through pkcs11_glue, on a throw-away SoftHSM token.

python bench/hsm_ops.py [--seconds 0.5]
"""

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.settings import HsmSettings, PinSource
from softhsm.provisioning import provision


async def measure(call: Callable[[], Awaitable[object]], seconds: float) -> float:
    """The median, in microseconds."""
    samples = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        await call()
        samples.append(time.perf_counter() - start)
    return sorted(samples)[len(samples) // 2] * 1e6


async def run(hsm: Hsm, seconds: float) -> None:
    """Measure and print one line for each operation."""
    aes = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    mac = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    digest = hashlib.sha256(b"message").digest()
    rows: dict[str, Callable[[], Awaitable[object]]] = {}
    for size in (64, 1024, 16384, 65536, 1 << 20):
        items = [AeadInput(bytes(size), b"associated data")]
        (sealed,) = await hsm.encrypt(aes, items)
        back = [AeadInput(sealed, b"associated data")]
        rows[f"encrypt {size} B"] = lambda items=items: hsm.encrypt(aes, items)
        rows[f"decrypt {size} B"] = lambda back=back: hsm.decrypt(aes, back)
    batch = [AeadInput(bytes(64))] * 100
    rows["encrypt 100 x 64 B"] = lambda: hsm.encrypt(aes, batch)
    rows["hmac-sha256 64 B"] = lambda: hsm.mac(mac, [bytes(64)], hash_name="sha256")
    rows["random 32 B"] = lambda: hsm.random(32)
    rows["generate and wrap aes-256"] = lambda: hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    for kind in (KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521, KeyKind.RSA_2048):
        key = await hsm.generate_key(kind, usage=KeyUsage.SIGN)
        scheme = SignatureScheme.RSA_PSS if kind is KeyKind.RSA_2048 else SignatureScheme.ECDSA
        rows[f"sign {kind.value}"] = lambda key=key, scheme=scheme: hsm.sign(key, [digest], scheme=scheme)
    print(f"mode {hsm.status().mode}, probe {hsm.status().latency_us} us")
    for name, call in rows.items():
        print(f"{name:28}{await measure(call, seconds):10.1f} us")


async def main() -> None:
    """Provision, open, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each operation")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mimir-bench-") as name:
        directory = Path(name)
        result = provision(directory, label="bench", pin_file=directory / "pin")
        settings = HsmSettings(
            module=result.module,
            token_label="bench",  # noqa: S106 - a label, not a credential
            pin=PinSource(file=directory / "pin"),
            login_lock=result.login_lock,
        )
        hsm = await Hsm.open(settings)
        await run(hsm, arguments.seconds)
        await hsm.close()


if __name__ == "__main__":
    asyncio.run(main())

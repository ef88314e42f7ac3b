"""Keys move from a real OpenBao to Mimir and back: by backup, and under a wrapping key."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.clients.bao import Bao
from tests.clients.transit_samples import CONTEXT, KEYS, PLAINTEXT, Json, call, holds, make_sample

pytestmark = pytest.mark.heavy  # needs another server's program


@pytest.fixture(scope="module", autouse=True)
def _mounted(ours: Bao, theirs: Bao) -> None:
    for server in (ours, theirs):
        server.must("secrets enable transit")


def ask(server: Bao, path: str, body: Json | None = None) -> Json:
    return call(server.address, server.token, path, body)


@pytest.mark.parametrize(
    ("number", "key"), list(enumerate(KEYS)), ids=[f"{name}-{i}" for i, (name, _) in enumerate(KEYS)]
)
def test_by_backup_and_back(ours: Bao, theirs: Bao, number: int, key: tuple[str, Json]) -> None:
    """What OpenBao made opens here; what we make then opens there."""
    sample = make_sample(theirs.address, theirs.token, number, *key)
    name, context = sample["name"], {"context": CONTEXT} if key[1].get("derived") else {}
    ask(ours, f"restore/{name}", {"backup": sample["backup"]})
    ask(ours, f"keys/{name}/config", {"min_decryption_version": 1})
    for check in sample["checks"]:
        assert holds(check, ask(ours, f"{check['path']}/{name}", check["body"])), check
    ask(ours, f"keys/{name}/rotate", {})
    backup = ask(ours, f"backup/{name}")["backup"]
    ask(theirs, f"restore/{name}-back", {"backup": backup})
    if any(check["path"] == "decrypt" for check in sample["checks"]):
        made = ask(ours, f"encrypt/{name}", {"plaintext": PLAINTEXT, **context})["ciphertext"]
        assert made.startswith("mimir:v3:")
        opened = ask(theirs, f"decrypt/{name}-back", {"ciphertext": made, **context})
        assert opened["plaintext"] == PLAINTEXT
    if any(check["body"].get("signature") for check in sample["checks"]):
        signature = ask(ours, f"sign/{name}", {"input": PLAINTEXT, **context})["signature"]
        body = {"input": PLAINTEXT, "signature": signature, **context}
        assert ask(theirs, f"verify/{name}-back", body)["valid"] is True


@pytest.mark.parametrize(
    "key_type", ["aes256-gcm96", "xchacha20-poly1305", "ecdsa-p384", "ed25519", "rsa-2048", "hmac"]
)
def test_under_a_wrapping_key(ours: Bao, theirs: Bao, key_type: str) -> None:
    """byok-export there, import here; and the other way round."""
    for source, target, maker in ((theirs, ours, "vault"), (ours, theirs, "mimir")):
        name = f"wrapped-{key_type}"
        wrapping = f"from-{maker}-{key_type}"
        public_key = ask(target, "wrapping_key")["public_key"]
        ask(source, f"keys/{wrapping}/import", {"type": "rsa-4096", "public_key": public_key})
        ask(
            source,
            f"keys/{name}-{maker}",
            {"type": key_type, "exportable": True, "key_size": 64 * (key_type == "hmac")},
        )
        wrapped = ask(source, f"byok-export/{wrapping}/{name}-{maker}/latest")["keys"]["1"]
        ask(target, f"keys/{name}-{maker}/import", {"type": key_type, "ciphertext": wrapped})
        if key_type.startswith(("aes", "xchacha", "rsa")) and target is ours:
            sealed = ask(source, f"encrypt/{name}-{maker}", {"plaintext": PLAINTEXT})["ciphertext"]
            assert ask(target, f"decrypt/{name}-{maker}", {"ciphertext": sealed})["plaintext"] == PLAINTEXT
        if key_type in ("ecdsa-p384", "ed25519"):
            theirs_key, ours_key = (ask(server, f"keys/{name}-{maker}")["keys"]["1"] for server in (source, target))
            assert theirs_key["public_key"].strip() == ours_key["public_key"].strip()
        if key_type == "hmac":
            macs = [ask(server, f"hmac/{name}-{maker}", {"input": PLAINTEXT})["hmac"] for server in (source, target)]
            assert macs[0].rsplit(":", 1)[1] == macs[1].rsplit(":", 1)[1]


HASHES = ("sha1", *(f"sha{kind}-{bits}" for kind in (2, 3) for bits in (224, 256, 384, 512)))
DIGEST = base64.b64encode(hashlib.sha384(b"before the move").digest()).decode()
SIGNING: dict[str, list[Json]] = {
    "ed25519": [{}, {"marshaling_algorithm": "jws"}],
    **{
        curve: [
            *({"hash_algorithm": name, "marshaling_algorithm": form} for name in HASHES for form in ("asn1", "jws")),
            {"prehashed": True, "hash_algorithm": "sha2-384", "input": DIGEST},
            {"prehashed": True, "input": DIGEST},
        ]
        for curve in ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521")
    },
    "rsa-2048": [
        *({"hash_algorithm": name, "signature_algorithm": scheme} for name in HASHES for scheme in ("pss", "pkcs1v15")),
        *({"salt_length": length} for length in ("auto", "hash", "20", 0, 1)),
        {"prehashed": True, "hash_algorithm": "sha2-384", "input": DIGEST},
        {"prehashed": True, "hash_algorithm": "sha2-384", "input": DIGEST, "signature_algorithm": "pkcs1v15"},
        {"prehashed": True, "hash_algorithm": "none", "input": DIGEST, "signature_algorithm": "pkcs1v15"},
    ],
}


@pytest.mark.parametrize("key_type", SIGNING)
def test_each_verifies_what_the_other_signed(ours: Bao, theirs: Bao, key_type: str) -> None:
    """One key pair at both, every scheme and every hash."""
    name = f"signs-{key_type}"
    ask(theirs, f"keys/{name}", {"type": key_type, "exportable": True, "allow_plaintext_backup": True})
    ask(ours, f"restore/{name}", {"backup": ask(theirs, f"backup/{name}")["backup"]})
    faults = []
    for options in SIGNING[key_type]:
        body = {"input": PLAINTEXT, **options}
        for signer, verifier, prefixes in ((theirs, ours, ("vault:", "vault:")), (ours, theirs, ("mimir:", "vault:"))):
            signature = ask(signer, f"sign/{name}", body)["signature"].replace(*prefixes)
            for text, expected in ((body["input"], True), ("AAAA" + DIGEST[4:], False)):
                answer = ask(verifier, f"verify/{name}", {**body, "input": text, "signature": signature})
                if answer["valid"] is not expected:
                    faults.append((options, signer is ours, expected))
    assert not faults


@pytest.mark.parametrize(("key_type", "options"), [("aes256-gcm96", {}), ("ed25519", {}), ("hmac", {"key_size": 64})])
def test_a_key_made_here_goes_on_there(ours: Bao, theirs: Bao, key_type: str, options: Json) -> None:
    name = f"born-here-{key_type}"
    ask(ours, f"keys/{name}", {"type": key_type, "exportable": True, "allow_plaintext_backup": True, **options})
    mac = ask(ours, f"hmac/{name}", {"input": PLAINTEXT})["hmac"]
    ask(theirs, f"restore/{name}", {"backup": ask(ours, f"backup/{name}")["backup"]})
    body = {"input": PLAINTEXT, "hmac": mac.replace("mimir:", "vault:")}  # only of MACs it knows no other prefix
    assert ask(theirs, f"verify/{name}", body)["valid"] is True
    if key_type == "aes256-gcm96":
        sealed = ask(ours, f"encrypt/{name}", {"plaintext": PLAINTEXT, "associated_data": CONTEXT})["ciphertext"]
        opened = ask(theirs, f"decrypt/{name}", {"ciphertext": sealed, "associated_data": CONTEXT})
        assert opened["plaintext"] == PLAINTEXT


@pytest.mark.parametrize("key_type", ["rsa-2048", "ecdsa-p256", "ed25519"])
def test_with_their_public_key_alone(ours: Bao, theirs: Bao, key_type: str) -> None:
    """Mimir verifies what OpenBao signed, and encrypts what OpenBao opens."""
    name = f"public-{key_type}"
    ask(theirs, f"keys/{name}", {"type": key_type})
    public_key = ask(theirs, f"export/public-key/{name}?format=pem")["keys"]["1"]
    ask(ours, f"keys/{name}/import", {"type": key_type, "public_key": public_key})
    signature = ask(theirs, f"sign/{name}", {"input": PLAINTEXT})["signature"]
    assert ask(ours, f"verify/{name}", {"input": PLAINTEXT, "signature": signature})["valid"] is True
    if key_type == "rsa-2048":
        sealed = ask(ours, f"encrypt/{name}", {"plaintext": PLAINTEXT})["ciphertext"]
        opened = ask(theirs, f"decrypt/{name}", {"ciphertext": sealed.replace("mimir:", "vault:")})
        assert opened["plaintext"] == PLAINTEXT

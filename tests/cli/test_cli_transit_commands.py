"""The other commands of `mimir transit`: what each sends, prints and refuses, and the exit codes of verify."""

import base64
import hashlib
import json
import stat

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

T = "/v1/transit/"
DATA = {
    **dict.fromkeys(("signature", "hmac", "cmac", "sum", "ciphertext", "backup", "csr", "public_key"), "x"),
    "random_bytes": "aGk=",
    "plaintext": "aGk=",
    "valid": True,
    "keys": {"1": "k1"},
    "type": "rsa-2048",
}
INPUT = ("--input", "aGk=")

ROWS = [
    (("sign", "k", *INPUT), "POST", "sign/k", {"input": "aGk="}),
    (
        ("sign", "k", "--raw", "--input", "hi", "--hash", "sha2-512", "--signature-algorithm", "pkcs1v15"),
        *("POST", "sign/k", {"input": "aGk=", "hash_algorithm": "sha2-512", "signature_algorithm": "pkcs1v15"}),
    ),
    (
        ("sign", "k", *INPUT, "--prehashed", "--marshaling", "jws", "--salt-length", "hash", "--context", "Yw=="),
        *("POST", "sign/k"),
        {"input": "aGk=", "prehashed": True, "marshaling_algorithm": "jws", "salt_length": "hash", "context": "Yw=="},
    ),
    (("sign", "k", *INPUT, "--key-version", "2"), "POST", "sign/k", {"input": "aGk=", "key_version": 2}),
    (("verify", "k", *INPUT, "--signature", "s"), "POST", "verify/k", {"input": "aGk=", "signature": "s"}),
    (
        ("verify", "k", *INPUT, "--hmac", "h", "--hash", "sha2-384"),
        *("POST", "verify/k", {"input": "aGk=", "hmac": "h", "hash_algorithm": "sha2-384"}),
    ),
    (("verify", "k", *INPUT, "--cmac", "c"), "POST", "verify/k", {"input": "aGk=", "cmac": "c"}),
    (("hmac", "k", *INPUT), "POST", "hmac/k", {"input": "aGk="}),
    (
        ("hmac", "k", *INPUT, "--hash", "sha2-512", "--key-version", "3"),
        *("POST", "hmac/k", {"input": "aGk=", "algorithm": "sha2-512", "key_version": 3}),
    ),
    (("cmac", "k", *INPUT, "--mac-length", "8"), "POST", "cmac/k", {"input": "aGk=", "mac_length": 8}),
    (("hash", *INPUT), "POST", "hash/sha2-256", {"input": "aGk="}),
    (
        ("hash", "sha3-512", *INPUT, "--encoding", "base64"),
        *("POST", "hash/sha3-512", {"input": "aGk=", "format": "base64"}),
    ),
    (("random",), "POST", "random", {"format": "base64"}),
    (
        ("random", "--bytes", "16", "--encoding", "hex", "--source", "all"),
        *("POST", "random/all", {"bytes": 16, "format": "hex"}),
    ),
    (("datakey", "wrapped", "k"), "POST", "datakey/wrapped/k", {}),
    (
        ("datakey", "plaintext", "k", "--bits", "512", "--context", "Yw=="),
        *("POST", "datakey/plaintext/k", {"bits": 512, "context": "Yw=="}),
    ),
    (("config", "read"), "GET", "config/keys", None),
    (
        ("config", "write", "--disable-upsert", "--require-custody", "hsm"),
        *("POST", "config/keys", {"disable_upsert": True, "require_custody": "hsm"}),
    ),
    (("config", "write", "--require-custody", "none"), "POST", "config/keys", {"require_custody": ""}),
    (
        ("encrypt", "k", *INPUT, "--context", "Yw=="),
        *("POST", "encrypt/k", {"plaintext": "aGk=", "context": "Yw=="}),
    ),
    (
        ("rewrap", "k", "--ciphertext", "c", "--context", "Yw=="),
        "POST",
        "rewrap/k",
        {"ciphertext": "c", "context": "Yw=="},
    ),
    (
        ("key", "create", "k", "--derived", "--convergent", "--auto-rotate-period", "720h", "--custody", "hsm"),
        *("POST", "keys/k"),
        {
            "type": "aes256-gcm96",
            "derived": True,
            "convergent_encryption": True,
            "auto_rotate_period": "720h",
            "custody": "hsm",
        },
    ),
    (
        ("key", "create", "k", "--type", "ml-dsa", "--parameter-set", "65", "--require-custody", "hsm"),
        *("POST", "keys/k", {"type": "ml-dsa", "parameter_set": "65", "require_custody": "hsm"}),
    ),
    (
        ("key", "create", "k", "--type", "hmac", "--key-size", "64", "--exportable", "--allow-plaintext-backup"),
        *("POST", "keys/k", {"type": "hmac", "key_size": 64, "exportable": True, "allow_plaintext_backup": True}),
    ),
    (("key", "list", "--after", "a", "--limit", "5"), "GET", "keys?list=true&after=a&limit=5", None),
    (
        ("key", "config", "k", "--exportable", "--auto-rotate-period", "0", "--max-encryptions", "9"),
        *("POST", "keys/k/config", {"exportable": True, "auto_rotate_period": "0", "max_encryptions": 9}),
    ),
    (("key", "trim", "k", "--min-available-version", "3"), "POST", "keys/k/trim", {"min_available_version": 3}),
    (("key", "soft-delete", "k"), "DELETE", "keys/k/soft-delete", None),
    (("key", "undelete", "k"), "POST", "keys/k/soft-delete-restore", {}),
    (("key", "export", "k", "--type", "hmac-key"), "GET", "export/hmac-key/k", None),
    (
        ("key", "export", "k", "--type", "public-key", "--version", "latest", "--encoding", "pem"),
        *("GET", "export/public-key/k/latest?format=pem", None),
    ),
    (("key", "byok-export", "k", "--destination", "d", "--version", "2"), "GET", "byok-export/d/k/2", None),
    (("key", "backup", "k"), "GET", "backup/k", None),
    (("key", "wrapping-key"), "GET", "wrapping_key", None),
    (("key", "csr", "k", "--version", "2"), "POST", "keys/k/csr", {"version": 2}),
]


@pytest.mark.parametrize(("words", "method", "path", "body"), ROWS, ids=lambda value: str(value)[:60])
def test_a_command_makes_this_request(mimir, appliance, words, method, path, body):
    listed = {"keys": ["a"]} if words[:2] == ("key", "list") else {}
    appliance.gives(**DATA | listed)
    outcome = mimir("transit", *words)
    assert outcome.code == 0, outcome.err
    assert (appliance.only.method, appliance.only.target) == (method, T + path)
    assert (json.loads(appliance.only.body) if appliance.only.body else None) == body
    appliance.requests.clear()
    assert json.loads(mimir("transit", *words, "-o", "json").out)["data"]


# --- refusals on this side ---

USAGE = [
    ("sign", "k"),
    ("sign", "k", *INPUT, "--file", "f"),
    ("sign", "k", *INPUT, "--batch", "b"),
    ("sign", "k", "--file", "f", "--raw"),
    ("sign", "k", "--file", "f", "--prehashed"),
    ("sign", "k", *INPUT, "--salt-length", "long"),
    ("sign", "k", *INPUT, "--marshaling", "der"),
    ("sign", "k", "--file", "/dev/null", "--hash", "md5"),
    ("verify", "k", *INPUT),
    ("verify", "k", *INPUT, "--signature", "s", "--hmac", "h"),
    ("verify", "k", "--file", "f", "--hmac", "h"),
    ("verify", "k", "--batch", "b", "--signature", "s"),
    ("verify", "k", *INPUT, "--signature", "s", "--wrap-ttl", "5m"),
    ("verify", "k", *INPUT, "--signature", "@/no/such"),
    ("verify", "k", "--input", "*", "--signature", "s"),
    ("hmac", "k"),
    ("hmac", "k", "--batch", "b", "--raw"),
    ("cmac", "k", *INPUT, "--mac-length", "0"),
    ("hash",),
    ("random", "--bytes", "0"),
    ("random", "--encoding", "raw", "-o", "json"),
    ("datakey", "clear", "k"),
    ("datakey", "plaintext", "k", "--bits", "192"),
    ("config", "write"),
    ("key", "create", "k", "--convergent"),
    ("key", "create", "k", "--custody", "hsm", "--exportable"),
    ("key", "create", "k", "--require-custody", "hsm", "--allow-plaintext-backup"),
    ("key", "create", "k", "--custody", "sealed", "--require-custody", "hsm"),
    ("key", "trim", "k"),
    ("key", "export", "k"),
    ("key", "export", "k", "--type", "hmac-key", "--version", "0"),
    ("key", "export", "k", "--type", "hmac-key", "--force"),
    ("key", "export", "k", "--type", "hmac-key", "--out", "f", "--wrap-ttl", "5m"),
    ("key", "byok-export", "k"),
    ("key", "restore", "/dev/null", "--name", ""),
    ("key", "import", "k"),
    ("key", "import", "k", "--key", "f", "--public-key", "f"),
    ("key", "import", "k", "--key", "f", "--convergent"),
    ("key", "import", "k", "--key", "f", "--auto-rotate-period", "24h"),
    ("key", "import-version", "k"),
    ("key", "set-certificate", "k"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_sends_nothing(mimir, appliance, words):
    assert mimir("transit", *words).code == 2
    assert not appliance.requests


PRIVATE_PEM = b"-----BEGIN RSA PRIVATE KEY-----"
LOCAL = [
    (("sign", "k", "--input", "*"), b"", "not base64"),
    (("hmac", "k", "--input", "*"), b"", "not base64"),
    (("hash", "--input", "@/no/such"), b"", "cannot be read"),
    (("datakey", "wrapped", "k", "--context", "*"), b"", "context is not base64"),
    (("key", "restore", "-"), b" \n", "backup is empty"),
    (("key", "restore", "-"), b"{}", "this is no backup: give the file"),
    (("key", "restore", "/no/such"), b"", "cannot be read"),
    (("key", "import", "k", "--key", "-"), b"x" * 31, "does not hold the 32 bytes"),
    (("key", "import", "k", "--key", "-", "--encoding", "hex"), b"zz", "not hex"),
    (("key", "import", "k", "--key", "-", "--encoding", "base64"), b"*", "not base64"),
    (("key", "import", "k", "--key", "-", "--encoding", "der"), b"x" * 32, "is no DER"),
    (("key", "import", "k", "--key", "-", "--type", "hmac"), b"ab" * 40, "more than one way"),
    (("key", "import", "k", "--key", "-", "--type", "rsa-2048"), b"x" * 32, "no private key that can be read"),
    (("key", "import", "k", "--key", "-", "--type", "rsa-2048"), PRIVATE_PEM, "no private key that can be read"),
    (("hmac", "k", "--batch", "-"), b"aGk=\n\n*\n", "item 2 of the batch is not base64"),
    (("encrypt", "k", "--batch", "-"), b'["aGk=", "*"]', "item 2 of the batch is not base64"),
    (("sign", "k", "--batch", "-"), b'[{"input": "*"}]', "Error: item 1 of the batch is not base64"),
    (("key", "import", "k", "--key", "-"), PRIVATE_PEM, "a key of type aes256-gcm96 is not in PEM"),
    (("key", "import", "k", "--key", "-", "--encoding", "pem", "--type", "hmac"), b"x", "hmac is not in PEM"),
    (("key", "import", "k", "--public-key", "-"), b"x", "not PEM"),
    (("key", "import", "k", "--public-key", "-"), b"-----BEGIN PRIVATE KEY-----", "holds a private key"),
    (("key", "set-certificate", "k", "--chain", "-"), b"x", "not PEM"),
    (("key", "set-certificate", "k", "--chain", "-"), b"-----BEGIN PRIVATE KEY-----", "holds a private key"),
    (("key", "csr", "k", "--csr", "-"), b"x", "not PEM"),
    (("key", "backup", "k", "--out", "/no/such/file"), b"", "no directory"),
]


@pytest.mark.parametrize(("words", "stdin", "said"), LOCAL, ids=lambda value: str(value)[:60])
def test_what_cannot_be_used_is_not_sent(mimir, appliance, words, stdin, said):
    outcome = mimir("transit", *words, stdin=stdin)
    assert outcome.code == 1
    assert said in outcome.err
    assert not appliance.requests


# --- verify ---

VERIFY = ("transit", "verify", "k", *INPUT, "--signature", "s")


@pytest.mark.parametrize(("valid", "code", "word"), [(True, 0, "Valid\n"), (False, 1, "Invalid\n")])
def test_verify_tells_by_its_exit_code(mimir, appliance, valid, code, word):
    appliance.gives(valid=valid)
    outcome = mimir(*VERIFY)
    assert (outcome.code, outcome.out) == (code, word)
    assert mimir(*VERIFY, "-o", "json").code == code


@pytest.mark.parametrize(("status", "code"), [(400, 2), (403, 2), (404, 2), (503, 4), (500, 4), (429, 4)])
def test_an_error_is_not_the_same_as_invalid(mimir, appliance, status, code):
    appliance.answers(status, {"errors": ["no"]})
    assert mimir(*VERIFY).code == code


@pytest.mark.parametrize("valid", [None, "true", 1])
def test_an_answer_without_a_verdict_is_none(mimir, appliance, valid):
    appliance.gives(valid=valid)
    outcome = mimir(*VERIFY)
    assert (outcome.code, outcome.out) == (3, "")


BATCH = [{"input": "aGk=", "signature": "s"}, {"input": "aGk=", "signature": "t"}]
RESULTS = [
    ([{"valid": True}, {"valid": True}], 0, "Valid\nValid\n"),
    ([{"valid": True}, {"valid": False}], 1, "Valid\nInvalid\n"),
    ([{"valid": True}, {"error": "bad"}], 2, "Valid\n\n"),
]


@pytest.mark.parametrize(("results", "code", "out"), RESULTS)
def test_a_batch_is_valid_when_all_of_it_is(mimir, appliance, results, code, out):
    appliance.gives(batch_results=results)
    outcome = mimir("transit", "verify", "k", "--batch", "-", stdin=json.dumps(BATCH).encode())
    assert (outcome.code, outcome.out) == (code, out)
    assert appliance.only.json == {"batch_input": BATCH}


# --- files that are signed ---


def test_a_file_is_hashed_here_for_keys_that_sign_digests(mimir, appliance, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    appliance.gives(type="ecdsa-p256", signature="mimir:v1:AA==")
    outcome = mimir("transit", "sign", "k", "--file", str(tmp_path / "f"), "--hash", "sha2-384")
    assert outcome.out == "mimir:v1:AA==\n"
    digest = base64.b64encode(hashlib.sha384(b"x" * 3_000_000).digest()).decode()
    assert appliance.requests[1].json == {"input": digest, "prehashed": True, "hash_algorithm": "sha2-384"}


@pytest.mark.parametrize("type_name", ["ed25519", "ml-dsa-65"])
def test_a_file_is_sent_for_keys_that_sign_messages(mimir, appliance, tmp_path, type_name):
    """Signing its digest instead would give a signature that nobody else can verify."""
    (tmp_path / "f").write_bytes(b"hi")
    appliance.gives(type=type_name, signature="s")
    assert mimir("transit", "sign", "k", "--file", str(tmp_path / "f")).code == 0
    assert appliance.requests[1].json == {"input": "aGk="}


def test_without_the_right_to_read_the_key_the_hash_must_be_named(mimir, appliance):
    appliance.answers(403, {"errors": ["permission denied"]})
    outcome = mimir("transit", "sign", "k", "--file", "/dev/null")
    assert outcome.code == 1
    assert "--hash" in outcome.err
    assert len(appliance.requests) == 1


# --- keys that come and go ---

WRAPPING = rsa.generate_private_key(65537, 2048)
WRAPPING_PEM = WRAPPING.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def unwrapped(ciphertext: str) -> bytes:
    content = base64.b64decode(ciphertext)
    algorithm = hashes.SHA256()
    ephemeral = WRAPPING.decrypt(content[:256], padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    return aes_key_unwrap_with_padding(ephemeral, content[256:])


MATERIAL = bytes(range(200, 232))


@pytest.mark.parametrize("content", [MATERIAL, base64.b64encode(MATERIAL) + b"\n", MATERIAL.hex().encode() + b"\n"])
def test_a_key_is_wrapped_here(mimir, appliance, content):
    appliance.gives(public_key=WRAPPING_PEM.decode())
    outcome = mimir("transit", "key", "import", "k", "--key", "-", "--allow-rotation", stdin=content)
    assert outcome.out == "Success! Key k is imported.\n"
    fetched, sent = appliance.requests
    assert (fetched.target, sent.target) == (T + "wrapping_key", T + "keys/k/import")
    body = sent.json
    assert unwrapped(body.pop("ciphertext")) == MATERIAL
    assert body == {"type": "aes256-gcm96", "hash_function": "SHA256", "allow_rotation": True}


@pytest.mark.parametrize("layout", ["TraditionalOpenSSL", "PKCS8"])
@pytest.mark.parametrize("encoding", ["PEM", "DER"])
def test_a_key_pair_is_wrapped_as_pkcs8(mimir, appliance, layout, encoding):
    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    form, shape = getattr(serialization.Encoding, encoding), getattr(serialization.PrivateFormat, layout)
    appliance.gives(public_key=WRAPPING_PEM.decode())
    content = key.private_bytes(form, shape, plain)
    outcome = mimir("transit", "key", "import", "k", "--key", "-", "--type", "ecdsa-p256", stdin=content)
    assert outcome.code == 0, outcome.err
    assert unwrapped(appliance.requests[1].json["ciphertext"]) == key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain
    )


def test_a_version_is_imported_by_the_key_s_own_type(mimir, appliance):
    appliance.gives(public_key=WRAPPING_PEM.decode(), type="aes128-gcm96")
    words = ("transit", "key", "import-version", "k", "--key", "-", "--version", "2")
    assert mimir(*words, stdin=bytes(16).hex().encode()).code == 0
    assert [request.target for request in appliance.requests] == [
        *(T + "keys/k", T + "wrapping_key", T + "keys/k/import_version")
    ]
    assert unwrapped(appliance.requests[2].json["ciphertext"]) == bytes(16)


@pytest.mark.parametrize("answer", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_wrapping_key_that_is_none_gets_nothing(mimir, appliance, answer):
    appliance.gives(public_key=answer)
    assert mimir("transit", "key", "import", "k", "--key", "-", stdin=MATERIAL).code == 3
    assert len(appliance.requests) == 1


@pytest.mark.parametrize(
    "words", [("key", "export", "k", "--type", "encryption-key", "--version", "1"), ("key", "backup", "k")]
)
def test_a_secret_goes_to_a_file_for_its_owner_alone(mimir, appliance, tmp_path, words):
    appliance.gives(keys={"1": "c2VjcmV0"}, backup="c2VjcmV0")
    out = tmp_path / "out"
    outcome = mimir("transit", *words, "--out", str(out))
    assert outcome.code == 0
    assert "c2VjcmV0" not in outcome.out
    assert (out.read_text(), stat.S_IMODE(out.stat().st_mode)) == ("c2VjcmV0\n", 0o600)
    appliance.requests.clear()
    assert mimir("transit", *words, "--out", str(out)).code == 1
    assert not appliance.requests


def test_a_backup_is_restored_in_the_custody_asked_for(mimir, appliance):
    assert mimir("transit", "key", "restore", "-", "--name", "n", "--custody", "hsm", stdin=b"aGk=\n").code == 0
    assert (appliance.only.target, appliance.only.json) == (
        f"{T}restore/n",
        {"backup": "aGk=", "force": False, "custody": "hsm"},
    )


def test_several_versions_are_exported_as_an_object(mimir, appliance, tmp_path):
    appliance.gives(keys={"10": "b", "9": "a"})
    words = ("transit", "key", "export", "k", "--type", "hmac-key")
    assert mimir(*words).out.splitlines()[2:] == ["9          a", "10         b"]
    mimir(*words, "--out", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out").read_text()) == {"9": "a", "10": "b"}


def test_a_key_pair_is_read_with_its_versions_and_public_key(mimir, appliance):
    pem = WRAPPING_PEM.decode()
    version = {"creation_time": "2026-01-01T00:00:00Z", "public_key": pem, "certificate_chain": "", "name": "rsa-2048"}
    appliance.gives(name="k", type="rsa-2048", custody="hsm", keys={"1": version})
    out = mimir("transit", "key", "read", "k").out
    assert "custody    hsm" in out
    assert "1          2026-01-01T00:00:00Z    SHA256:" in out
    assert out.endswith(f"Public key of version 1\n{pem}")
    assert mimir("transit", "key", "read", "k", "--version", "2").code == 1


def test_usage_is_a_column_of_its_own(mimir, appliance):
    appliance.gives(name="k", keys={"1": 0, "2": 1}, usage={"1": 12, "2": 3})
    assert mimir("transit", "key", "read", "k").out.split("\n\n")[1].splitlines()[2:] == [
        "1          1970-01-01T00:00:00Z    12",
        "2          1970-01-01T00:00:01Z    3",
    ]


def test_random_bytes_can_be_exact(mimir, appliance):
    appliance.gives(random_bytes="AP8K")
    assert mimir("transit", "random", "--encoding", "raw").raw == b"\0\xff\n"

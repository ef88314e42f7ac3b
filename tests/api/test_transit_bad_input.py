"""What callers must not get away with, over HTTP against two workers: no 500, no oracle, nothing half-done."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.appliance import Appliance, Reply


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One store is enough here: what is refused never gets so far."""
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    client = running.client()
    client.sys.enable_audit_device("file", path="file", options={"file_path": str(running.data_dir / "audit.log")})
    client.sys.enable_secrets_engine("transit")
    yield running
    assert running.stop() == 0


class Transit:
    """Requests as they stand: hvac would not send most of what is here."""

    def __init__(self, server: Appliance) -> None:
        self.server = server
        self.keys: dict[tuple[Any, ...], str] = {}

    def post(self, path: str, **body: Any) -> Reply:
        return self.server.request("POST", f"transit/{path}", body, timeout=60)

    def key(self, number: int = 0, **body: Any) -> str:
        """A key like that, made once for the module: nothing here changes keys."""
        wanted = (number, *sorted(body.items()))
        if wanted not in self.keys:
            self.keys[wanted] = f"k{len(self.keys)}"
            assert self.post(f"keys/{self.keys[wanted]}", **body).status == 200
        return self.keys[wanted]

    def data(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.post(path, **body)
        assert answer.status == 200, answer.body
        return answer.json["data"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def transit(server: Appliance) -> Transit:
    return Transit(server)


def sentence(answer: Reply) -> str:
    assert answer.status == 400, (answer.status, answer.body[:300])
    [text] = answer.json["errors"]
    assert "Traceback" not in text
    return str(text)


KEYS = [
    {"type": "aes128-gcm96"},
    {"type": "aes256-gcm96"},
    {"type": "aes256-gcm96", "custody": "sealed"},
    {"type": "chacha20-poly1305"},
    {"type": "xchacha20-poly1305"},
    {"type": "rsa-2048"},
    {"type": "rsa-2048", "custody": "sealed"},
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: "-".join(key.values()))
def test_one_message_for_every_ciphertext_that_does_not_open(transit: Transit, key: dict[str, str]) -> None:
    """Wrong, truncated, re-ordered, forged and of another key: an attacker learns nothing from the difference."""
    name, other = transit.key(**key), transit.key(1, **key)
    text = transit.data(f"encrypt/{name}", plaintext=b64(b"sixteen byte msg" * 2))["ciphertext"]
    octets = base64.b64decode(text.split(":")[2])
    bad = [
        bytes(len(octets)),
        octets[:-1],
        octets + b"\0",
        octets[1:] + octets[:1],
        octets[16:] + octets[:16],
        octets[:-1] + bytes([octets[-1] ^ 1]),
        bytes([octets[0] ^ 1]) + octets[1:],
        octets[:20],
        octets[:1],
        octets * 2,
        b"\xff" * len(octets),
    ]
    said = {sentence(transit.post(f"decrypt/{name}", ciphertext=f"mimir:v1:{b64(item)}")) for item in bad}
    said.add(sentence(transit.post(f"decrypt/{other}", ciphertext=text)))
    assert said == {"invalid ciphertext: unable to decrypt"}
    batch = transit.post(
        f"decrypt/{name}",
        batch_input=[{"ciphertext": f"mimir:v1:{b64(item)}"} for item in bad] + [{"ciphertext": text}],
    )
    assert batch.status == 400
    results = batch.json["data"]["batch_results"]
    assert {item["error"] for item in results[:-1]} == said
    assert base64.b64decode(results[-1]["plaintext"]) == b"sixteen byte msg" * 2


@pytest.mark.parametrize(
    "version", ["0", "-1", "01", "1.0", "2", "99999999999999999999", "4294967297", "", "٣", "1 ", "0x1", "latest"]
)
def test_versions_that_no_ciphertext_has(transit: Transit, version: str) -> None:
    name = transit.key()
    octets = transit.data(f"encrypt/{name}", plaintext="aGk=")["ciphertext"].split(":")[2]
    assert "ciphertext" in sentence(transit.post(f"decrypt/{name}", ciphertext=f"mimir:v{version}:{octets}"))


@pytest.mark.parametrize("version", [-1, 2, 2**31, 2**63, 2**70, 1.5, "x", [1], {}, True])
def test_versions_that_do_not_encrypt(transit: Transit, version: object) -> None:
    name = transit.key()
    answer = transit.post(f"encrypt/{name}", plaintext="aGk=", key_version=version)
    if version is True:  # Go clients send booleans as strings; JSON's true is no number
        assert answer.status in {200, 400}
    else:
        sentence(answer)


@pytest.mark.parametrize(
    "text", [" aGk=", "aGk= ", "a Gk=", "aGk", "aGk==", "_-__", "aGl=", "aGk=aGk=", "=", "a", "äöü=", "aGk\0", "\u2028"]
)
@pytest.mark.parametrize("field", ["plaintext", "associated_data", "context"])
def test_base64_that_is_not(transit: Transit, field: str, text: str) -> None:
    name = transit.key()
    body = {"plaintext": "aGk=", field: text}
    said = sentence(transit.post(f"encrypt/{name}", **body))
    assert f"{field} must be standard base64" in said
    assert text not in said or len(text) < 2


def test_empty_plaintext_is_a_plaintext(transit: Transit) -> None:
    name = transit.key()
    text = transit.data(f"encrypt/{name}", plaintext="")["ciphertext"]
    assert transit.data(f"decrypt/{name}", ciphertext=text)["plaintext"] == ""


def test_payloads_that_are_too_large(transit: Transit) -> None:
    name = transit.key()
    assert transit.post(f"encrypt/{name}", plaintext=b64(bytes(2**20))).status == 200
    assert "over 1 MiB" in sentence(transit.post(f"encrypt/{name}", plaintext=b64(bytes(2**20 + 1))))
    refused = transit.post(f"encrypt/{name}", plaintext="A" * 2**25)  # 32 MiB: the limit of a request
    assert refused.status in {400, 413}
    assert transit.post(f"encrypt/{name}", plaintext="aGk=").status == 200


@pytest.mark.parametrize("operation", ["encrypt", "datakey/plaintext"])
def test_a_nonce_is_never_taken(transit: Transit, operation: str) -> None:
    name = transit.key(derived=True, convergent_encryption=True)
    body = {"plaintext": "aGk=", "context": "YQ==", "nonce": b64(bytes(12))}
    assert "nonce not allowed" in sentence(transit.post(f"{operation}/{name}", **body))


@pytest.mark.parametrize("count", [1, 10_000])
def test_batches_of_all_sizes(transit: Transit, count: int) -> None:
    name = transit.key()
    sealed = transit.data(f"encrypt/{name}", batch_input=[{"plaintext": b64(str(n).encode())} for n in range(count)])
    opened = transit.data(f"decrypt/{name}", batch_input=sealed["batch_results"])
    assert [base64.b64decode(item["plaintext"]) for item in opened["batch_results"]] == [
        str(n).encode() for n in range(count)
    ]


@pytest.mark.parametrize("operation", ["encrypt", "decrypt", "rewrap", "sign", "verify", "hmac", "datakey/wrapped"])
@pytest.mark.parametrize("batch", [[], {}, "x", 5, [1], [None], ["aGk="], [[]]])
def test_batches_that_are_none(transit: Transit, operation: str, batch: object) -> None:
    name = transit.key(type="rsa-2048") if operation in {"sign", "verify"} else transit.key()
    sentence(transit.post(f"{operation}/{name}", batch_input=batch))


SIGNERS = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-2048", "ml-dsa-65"]


@pytest.mark.parametrize("type_", SIGNERS)
def test_signatures_that_are_not_of_this_message_and_key(transit: Transit, type_: str) -> None:
    name, other = transit.key(type=type_), transit.key(1, type=type_)
    text = transit.data(f"sign/{name}", input="aGk=")["signature"]
    assert transit.data(f"verify/{name}", input="aGk=", signature=text)["valid"] is True
    maker, version, encoded = text.split(":")
    octets = base64.b64decode(encoded)
    forged = [octets[:-1], octets + b"\0", bytes(len(octets)), b"\xff" * len(octets), b"\x30\x00", b"\0", octets[::-1]]
    for item in forged:
        answer = transit.post(f"verify/{name}", input="aGk=", signature=f"{maker}:{version}:{b64(item)}")
        if answer.status == 400:  # as Vault says of what is no DER at all
            assert type_.startswith("ecdsa")
            assert "signature" in sentence(answer)
        else:
            assert (answer.status, answer.json["data"]["valid"]) == (200, False), item
    assert transit.data(f"verify/{name}", input="aGo=", signature=text)["valid"] is False
    assert transit.data(f"verify/{other}", input="aGk=", signature=text)["valid"] is False
    if type_.startswith(("ecdsa", "rsa")):
        for wrong in ({"hash_algorithm": "sha2-512"}, {"hash_algorithm": "sha3-256"}):
            assert transit.data(f"verify/{name}", input="aGk=", signature=text, **wrong)["valid"] is False
    if type_ == "rsa-2048":
        padded = transit.data(f"verify/{name}", input="aGk=", signature=text, signature_algorithm="pkcs1v15")
        assert padded["valid"] is False
    if type_.startswith("ecdsa"):
        assert transit.post(f"verify/{name}", input="aGk=", signature=text, marshaling_algorithm="jws").status in {
            200,
            400,
        }


@pytest.mark.parametrize(
    "text", ["", "x", "mimir:v1", "mimir:v1:", "mimir:v0:aGk=", "vault:v1:aGk=", "mimir:v2:aGk=", "mimir:v1:a"]
)
@pytest.mark.parametrize("field", ["signature", "hmac"])
def test_what_is_no_signature_at_all(transit: Transit, field: str, text: str) -> None:
    name = transit.key(type="ecdsa-p256")
    answer = transit.post(f"verify/{name}", input="aGk=", **{field: text})
    if (field, text) == ("hmac", "mimir:v1:"):  # an empty MAC: well formed, and wrong
        assert answer.json["data"]["valid"] is False
    else:
        sentence(answer)


def test_an_hmac_of_another_key_message_or_hash(transit: Transit) -> None:
    name, other = transit.key(), transit.key(1)
    text = transit.data(f"hmac/{name}", input="aGk=")["hmac"]
    assert transit.data(f"verify/{name}", input="aGk=", hmac=text)["valid"] is True
    for path, body in [
        (f"verify/{name}", {"input": "aGo=", "hmac": text}),
        (f"verify/{other}", {"input": "aGk=", "hmac": text}),
        (f"verify/{name}/sha2-512", {"input": "aGk=", "hmac": text}),
        (f"verify/{name}", {"input": "aGk=", "hmac": text[:-4] + "AAA="}),
    ]:
        assert transit.data(path, **body)["valid"] is False

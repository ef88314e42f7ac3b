"""`mimir operator escrow verify`: a quorum's words prove themselves, and never leave the machine."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from shamir_mnemonic import generate_mnemonics

from client.commands.escrow import ask_shares
from client.errors import ExitCode

KEY = bytes(range(32))
SHARES = generate_mnemonics(1, [(3, 5)], KEY, iteration_exponent=0)[0]
OTHERS = generate_mnemonics(1, [(3, 5)], bytes(32), iteration_exponent=0)[0]
SINGLE = generate_mnemonics(1, [(1, 1)], KEY, iteration_exponent=0)[0]
TWO_OF_THREE = generate_mnemonics(1, [(2, 3)], KEY, iteration_exponent=0)[0]
VALUE = bytes(range(100, 132))


def challenge(key: bytes = KEY, **changes: str) -> dict[str, object]:
    data = {
        "escrow_id": "esc-7",
        "wrapped": base64.b64encode(aes_key_wrap(key, VALUE)).decode(),
        "digest": hashlib.sha256(VALUE).hexdigest(),
    }
    return {"data": data | changes}


def lines(*shares: str) -> bytes:
    return "\n".join(shares).encode() + b"\n"


@pytest.mark.parametrize("shares", [SHARES[:3], SHARES[2:], [SHARES[4], SHARES[0], SHARES[2]], SHARES, SINGLE])
def test_a_quorum_proves_itself(mimir, appliance, shares):
    appliance.answers(200, challenge())
    outcome = mimir("operator", "escrow", "verify", stdin=b"# on paper\n\n" + lines(*shares))
    assert outcome.code == 0
    assert outcome.out == f"✓ These {len(shares)} shares make the escrow key esc-7. Nothing was sent or stored.\n"


def test_the_words_are_not_sent(mimir, appliance):
    appliance.answers(200, challenge())
    mimir("operator", "escrow", "verify", stdin=lines(*SHARES[:3]))
    assert (appliance.only.method, appliance.only.target) == ("POST", "/v1/sys/escrow/challenge")
    assert appliance.only.json == {}
    assert not any(word in str(appliance.only.headers) for word in SHARES[0].split() if len(word) > 6)


def test_words_may_be_written_in_capitals_with_more_blanks(mimir, appliance):
    appliance.answers(200, challenge())
    shares = [share.upper().replace(" ", "   ") for share in SHARES[:3]]
    assert mimir("operator", "escrow", "verify", stdin=lines(*shares)).code == 0


def test_shares_come_from_files(mimir, appliance, tmp_path):
    appliance.answers(200, challenge())
    (tmp_path / "a").write_bytes(lines(*SHARES[:2]))
    (tmp_path / "b").write_bytes(lines(SHARES[4]))
    outcome = mimir(
        "operator", "escrow", "verify", "--share-file", f"{tmp_path}/a", "--share-file", f"{tmp_path}/b", "-o", "json"
    )
    assert json.loads(outcome.out) == {"escrow_id": "esc-7", "shares": 3, "verified": True}


def swapped(share: str) -> str:
    words = share.split()
    words[10], words[11] = words[11], words[10]
    return " ".join(words) if words[10] != words[11] else share.replace(words[12], "academic")


def unknown_word(share: str) -> str:
    words = share.split()
    words[6] = "notaword"
    return " ".join(words)


WRONG = [
    (b"", "no escrow share was given"),
    (b"\n# only a remark\n", "no escrow share was given"),
    (b"\xff\xfe", "not UTF-8"),
    (lines(*SHARES[:2]), "3 different shares are needed, and 2 given: bring 1 more"),
    (lines(SHARES[0], SHARES[1], SHARES[0]), "share 3 is the same share as share 1"),
    (lines(SHARES[0], SHARES[1], OTHERS[2]), "share 3 is of another set than share 1"),
    (lines(SHARES[0], TWO_OF_THREE[1]), "share 2 is of another set"),
    (lines(SHARES[0], swapped(SHARES[1]), SHARES[2]), "share 2: its checksum fails"),
    (lines(SHARES[0], unknown_word(SHARES[1]), SHARES[2]), "share 2: word 7 is not in the SLIP-39 list"),
    (lines(SHARES[0], SHARES[1].rsplit(" ", 1)[0]), "share 2 has 32 words"),
    (lines(SHARES[0] + " " + SHARES[1]), "share 1 has 66 words"),
]


@pytest.mark.parametrize(("stdin", "sentence"), WRONG, ids=lambda _: None)
def test_wrong_words_are_told_apart_and_nothing_is_asked(mimir, appliance, stdin, sentence):
    outcome = mimir("operator", "escrow", "verify", stdin=stdin)
    assert outcome.code == ExitCode.FAILED
    assert sentence in outcome.err
    assert "notaword" not in outcome.err
    assert not appliance.requests


def test_words_of_another_key_are_called_so(mimir, appliance):
    appliance.answers(200, challenge())
    outcome = mimir("operator", "escrow", "verify", stdin=lines(*OTHERS[:3]))
    assert outcome.code == ExitCode.FAILED
    assert "the words are right, but they make another key than the escrow key esc-7" in outcome.err


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": hashlib.sha256(b"other").hexdigest()},
        {"wrapped": base64.b64encode(bytes(40)).decode()},
        {"wrapped": ""},
        {"wrapped": "AAAA"},
    ],
)
def test_a_challenge_that_does_not_open_is_no_proof(mimir, appliance, changes):
    appliance.answers(200, challenge(**changes))
    assert mimir("operator", "escrow", "verify", stdin=lines(*SHARES[:3])).code == ExitCode.FAILED


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"wrapped": "*", "digest": "00"},
        {"wrapped": "AAAA", "digest": "xyz"},
        {"wrapped": "AAAA", "digest": "00"},
        {"wrapped": 1, "digest": 2},
    ],
)
def test_a_malformed_challenge_is_no_proof(mimir, appliance, data):
    appliance.gives(**data)
    assert mimir("operator", "escrow", "verify", stdin=lines(*SHARES[:3])).code == ExitCode.NO_ANSWER


def test_an_appliance_without_escrow_says_so(mimir, appliance):
    appliance.answers(404, {"errors": ["escrow was declined at init"]})
    outcome = mimir("operator", "escrow", "verify", stdin=lines(*SHARES[:3]))
    assert (outcome.code, "escrow was declined" in outcome.err) == (ExitCode.FAILED, True)


def test_a_share_file_without_a_share_is_named(mimir, tmp_path):
    (tmp_path / "empty").touch()
    outcome = mimir("operator", "escrow", "verify", "--share-file", f"{tmp_path}/empty")
    assert "empty' holds no share" in outcome.err


def test_at_a_terminal_a_slip_is_asked_for_again(monkeypatch, capsys):
    """The holder who slipped retypes one share; the others are not asked again."""
    answers = [SHARES[0], unknown_word(SHARES[1]), SHARES[0], OTHERS[1], SHARES[1], SHARES[1], SHARES[2]]
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: answers.pop(0))
    assert [share.expose() for share in ask_shares()] == SHARES[:3]
    assert not answers
    said = capsys.readouterr().err
    assert "word 7 is not in the SLIP-39 list" in said
    assert "was given already" in said
    assert "is of another set" in said


def test_a_share_does_not_show_its_words():
    from client.escrow import EscrowShare

    assert SHARES[0] not in repr(EscrowShare(SHARES[0], name="share 1"))

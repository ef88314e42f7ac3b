"""Chains: self first, a whole path before any other, and an end to every cycle."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from core.protocols import KeyKind, KeyUsage
from pki.authority import Authority, CaIndex, CaKey, Issuer, IssuerRow
from pki.chains import chain_of, parents_of
from tests.support.software_keys import SoftwareKeys

NOW = datetime.fromtimestamp(1_800_000_000, UTC)
KEYS: dict[str, Any] = {name: ec.generate_private_key(ec.SECP256R1()) for name in "ABCDX"}


class Made(NamedTuple):
    """Issuer `label`: the certificate of `subject` by `issuer`, each with the key of its letter."""

    label: str
    subject: str
    issuer: str
    key: str = ""  # another one than the subject's
    says_whose: bool = True  # has an authority key identifier


def certificate(made: Made) -> bytes:
    own, parent = KEYS[made.key or made.subject], KEYS[made.issuer]
    builder = x509.CertificateBuilder(
        _name(made.issuer), _name(made.subject), own.public_key(), 7, NOW, NOW + timedelta(days=9)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    if made.says_whose:
        named = x509.AuthorityKeyIdentifier.from_issuer_public_key(parent.public_key())
        builder = builder.add_extension(named, critical=False)
    digest = hashes.SHA256() if isinstance(parent, ec.EllipticCurvePrivateKey) else None
    return builder.sign(parent, digest).public_bytes(Encoding.DER)


def _name(letter: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, letter)])


def authority(made: Sequence[Made], manual: dict[str, tuple[str, ...]] | None = None) -> Authority:
    """Made in that order, one second after the other."""
    issuers = {}
    for moment, one in enumerate(made):
        chain = (manual or {}).get(one.label, ())
        row = IssuerRow(issuer_id=one.label, certificate=certificate(one), manual_chain=chain, created_at=moment)
        issuers[one.label] = Issuer(row, None)
    return Authority(CaIndex(issuers=tuple(issuers)), issuers, {})


def labels(label: str, all_of: Authority) -> list[str]:
    return [member.issuer_id for member in chain_of(all_of.issuers[label], all_of)]


ROOT, OTHER_ROOT = Made("root", "A", "A"), Made("other", "D", "D")
SUB, LOW = Made("sub", "B", "A"), Made("low", "C", "B")
CROSSED = Made("crossed", "A", "D")  # the root's name and key, signed by the other root
CASES = {
    "a root alone": ([ROOT], "root", ["root"]),
    "up to the root": ([ROOT, SUB, LOW], "low", ["low", "sub", "root"]),
    "in whatever order they came": ([LOW, SUB, ROOT], "low", ["low", "sub", "root"]),
    "as far as is known": ([SUB, LOW], "low", ["low", "sub"]),
    "not of others": ([ROOT, OTHER_ROOT, SUB], "sub", ["sub", "root"]),
    "the root before its crossed twin": ([ROOT, OTHER_ROOT, CROSSED, SUB], "sub", ["sub", "root", "crossed", "other"]),
    "through the crossed one alone": ([OTHER_ROOT, CROSSED, SUB], "sub", ["sub", "crossed", "other"]),
    "one way to its end": (
        [ROOT, OTHER_ROOT, SUB, Made("sub2", "B", "D"), LOW],
        "low",
        ["low", "sub2", "other", "sub", "root"],
    ),
    "without key identifiers": ([ROOT, Made("plain", "B", "A", says_whose=False)], "plain", ["plain", "root"]),
    "the same name with another key": ([ROOT, Made("impostor", "A", "A", key="X"), SUB], "sub", ["sub", "root"]),
    "two that signed each other": ([Made("ab", "A", "B"), Made("ba", "B", "A")], "ab", ["ab", "ba"]),
    "a root made anew": ([ROOT, Made("again", "A", "A")], "root", ["root", "again"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_chain_is(case: str) -> None:
    made, start, expected = CASES[case]
    assert labels(start, authority(made)) == expected


def test_a_signature_counts_not_the_name_alone() -> None:
    """Signed by X, which calls itself A: the A that is here did not sign it."""
    real = authority([ROOT])
    builder = x509.CertificateBuilder(_name("A"), _name("B"), KEYS["B"].public_key(), 7, NOW, NOW + timedelta(days=9))
    forged = builder.sign(KEYS["X"], hashes.SHA256()).public_bytes(Encoding.DER)
    child = Issuer(IssuerRow(issuer_id="child", certificate=forged), None)
    assert labels("child", Authority(real.index, {**real.issuers, "child": child}, {})) == ["child"]


async def test_of_several_with_one_key_all_are_parents_and_the_one_with_its_key_here_is_first() -> None:
    made = authority([Made("old", "A", "D"), Made("new", "A", "D"), SUB])
    wrapped = await SoftwareKeys().generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    made.issuers["old"].key = CaKey(key_id="k", key=wrapped)
    assert [parent.issuer_id for parent in parents_of(made.issuers["sub"], made)] == ["old", "new"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [("sub", ["sub", "other"]), ("low", ["low", "sub", "other"]), ("other", ["other"])],
    ids=["itself", "below it", "not above it"],
)
def test_a_manual_chain_holds_for_its_issuer_and_those_below(start: str, expected: list[str]) -> None:
    made = authority([ROOT, OTHER_ROOT, SUB, LOW], {"sub": ("sub", "other", "gone")})
    assert labels(start, made) == expected


def test_manual_chains_in_a_circle_end() -> None:
    made = authority([ROOT, OTHER_ROOT], {"root": ("root", "other"), "other": ("other", "root")})
    assert labels("root", made) == ["root", "other"]


def test_ml_dsa_chains_too() -> None:
    KEYS["Q"] = mldsa.MLDSA44PrivateKey.generate()
    assert labels("below", authority([Made("top", "Q", "Q"), Made("below", "B", "Q")])) == ["below", "top"]


def test_parents_are_looked_for_once_in_each_state() -> None:
    made = authority([ROOT, SUB])
    assert parents_of(made.issuers["sub"], made) is parents_of(made.issuers["sub"], made)

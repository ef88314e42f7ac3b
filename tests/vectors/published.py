"""Reads the files of the PyPI package cryptography-vectors. Origins: tests/vectors/SOURCES.md.

Every loader is told how many vectors its file must hold: one that finds others, or none, fails.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cryptography_vectors

ROOT = Path(cryptography_vectors.__file__).parent
_SECTION = re.compile(r"\[([^=\]]+?)(?:\s*=\s*([^\]]+?))?\s*\]")
_LABEL = re.compile(r"# *([A-Z][A-Za-z0-9 ]*?) *(:?) *")
_HEX = re.compile(r"[0-9a-f ]+")

Row = dict[str, str]
Item = TypeVar("Item")


class VectorFileError(Exception):
    """A file of published vectors does not hold what it should."""


def read(path: str) -> str:
    return (ROOT / path).read_text()


def expect(rows: list[Item], count: int, *, path: str) -> list[Item]:
    if not rows or len(rows) != count:
        raise VectorFileError(f"{path} gives {len(rows)} vectors, not {count}")
    return rows


def every(step: int, rows: list[Item]) -> list[Item]:
    """A fixed sample of a long file."""
    return rows[::step]


def unhex(row: Row, *names: str) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(row[name]) for name in names)


# --- "Name = value", as NIST's CAVS writes its .rsp ------------------------------------------------------------------


def rows(path: str, *, begins: str, count: int, shared: Collection[str] = (), names: Collection[str] = ()) -> list[Row]:
    """The vectors of a file of "Name = value" lines; names in lower case.

    A vector starts where the field `begins` stands. It inherits the fields in `shared` and what "[Name = value]" lines
    have said before (a line "[P-256,SHA-1]" is the field "section"); a bare word, such as FAIL, is a field without a
    value. With `names`, only vectors of these sections count.
    """
    inherited: Row = {}
    found: list[Row] = []
    for name, value in _lines(path):
        if name.startswith("["):
            inherited[name[1:]] = value
        elif name in shared:
            inherited[name] = value
        elif name == begins:
            found.append(inherited | {name: value})
        elif found:
            found[-1][name] = value
    wanted = [row for row in found if not names or row.get("section") in names]
    return expect(wanted, count, path=path)


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """Fields in order; those of a section line have names that start with "["."""
    for line in map(str.strip, read(path).splitlines()):
        if not line or line.startswith("#"):
            continue
        if section := _SECTION.fullmatch(line):
            name, value = section.groups()
            yield ("[" + name.strip().lower(), value) if value else ("[section", name)
            continue
        name, _, value = line.partition("=")
        yield name.strip().lower(), value.strip()


def bytes_or_text(value: str) -> bytes:
    """BoringSSL's and OpenSSL's files quote what is text; the rest is hexadecimal."""
    return value[1:-1].encode() if value.startswith('"') else bytes.fromhex(value)


# --- RSA Laboratories' examples: a comment names what stands in the lines below it -----------------------------------


@dataclass
class RsaExamples:
    """One RSA key (the parts of RFC 8017, 3.2 that are needed), and the examples made with it."""

    modulus: int
    exponent: int
    primes: list[int] = field(default_factory=list)
    examples: list[dict[str, bytes]] = field(default_factory=list)


def rsa_examples(path: str, *, begins: str, count: int) -> list[RsaExamples]:
    """The keys of a file, each with its examples; `begins` is what an example's first field is called."""
    keys: list[RsaExamples] = []
    modulus = 0
    for label, value in _labelled(path):
        number = int.from_bytes(value, "big")
        match label:
            case "modulus":
                if number != modulus:
                    keys.append(RsaExamples(modulus=number, exponent=0))
                modulus = number
            case "public exponent":
                keys[-1].exponent = number
            case "prime 1" | "prime 2":
                keys[-1].primes.append(number)
            case _ if label == begins:
                keys[-1].examples.append({label: value})
            case _ if keys and keys[-1].examples:
                keys[-1].examples[-1][label] = value
    expect([example for key in keys for example in key.examples], count, path=path)
    return keys


def _labelled(path: str) -> Iterator[tuple[str, bytes]]:
    label, value = "", ""
    for line in map(str.strip, read(path).splitlines()):
        if line.startswith("#"):
            if label and value:
                yield label, _even(value)
            title = _LABEL.fullmatch(line)
            label, value = (title[1].lower() if title and title[2] else ""), ""
        elif label and _HEX.fullmatch(line):
            value += line.replace(" ", "")
    if label and value:
        yield label, _even(value)


def _even(digits: str) -> bytes:
    return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)


# --- Ed25519 ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ed25519Vector:
    seed: bytes
    public_key: bytes
    message: bytes
    signature: bytes


def ed25519(*, count: int) -> list[Ed25519Vector]:
    """sign.input: seed and public key, public key, message, signature and message, with colons between."""
    path = "asymmetric/Ed25519/sign.input"
    found = []
    for line in read(path).splitlines():
        secret, public_key, message, signed = (bytes.fromhex(part) for part in line.split(":")[:4])
        found.append(Ed25519Vector(secret[:32], public_key, message, signed[:64]))
    return expect(found, count, path=path)


# --- OpenSSL's evp tests: PEM keys by name, then blocks of "Name = value" -------------------------------------------


def evp_blocks(path: str, *, operation: str, count: int) -> list[Row]:
    """Blocks that start an operation ("DigestVerify"), with their key's PEM in the field "pem"; names in lower case."""
    keys: dict[str, str] = {}
    found: list[Row] = []
    for block in re.split(r"\n\s*\n", read(path)):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines and (named := re.fullmatch(r"(?:Private|Public)Key\s*=\s*(\S+)", lines[0])):
            keys[named[1]] = "\n".join(lines[1:]) + "\n"
            continue
        row = {name.strip().lower(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
        if operation.lower() in row:
            found.append(row | {"pem": keys[row["key"]]})
    return expect(found, count, path=path)

"""Check the hash chains of an audit file: `python -m audit.verifier FILE…`.

Needs no key and no running Mimir. What it can and cannot show stands in `audit.chain`.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audit.chain import HASH_LENGTH, TAIL, line_hash


@dataclass(slots=True)
class ChainReport:
    """One chain in the file. `previous` is what its first line continues: zeros, or a hash of an earlier file."""

    chain_id: str
    previous: str
    lines: int = 0
    last_seq: int = 0
    last_hash: str = ""
    lost: int = 0  # records that the writer says it could not keep


@dataclass(frozen=True, slots=True)
class Problem:
    """A line where a chain breaks, counted from 1."""

    line: int
    what: str


@dataclass(slots=True)
class VerifyReport:
    """What was found. `torn` lists lines that are no records: what a crash or a full disk left of a write."""

    lines: int = 0
    chains: dict[str, ChainReport] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every chain holds."""
        return not self.problems

    @property
    def first_broken_line(self) -> int | None:
        """The first line where a chain breaks."""
        return self.problems[0].line if self.problems else None


def verify_file(path: str | Path) -> VerifyReport:
    """Read a file line by line. Raises OSError."""
    with Path(path).open("rb") as lines:
        return verify_lines(lines)


def verify_lines(lines: Iterable[bytes]) -> VerifyReport:
    """Follow every chain through the lines, which may end in a newline."""
    report = VerifyReport()
    for number, line in enumerate(lines, start=1):
        report.lines = number
        for what in _check_line(report, number, line.removesuffix(b"\n")):
            report.problems.append(Problem(number, what))
    return report


def _check_line(report: VerifyReport, number: int, line: bytes) -> Iterator[str]:
    tail = TAIL.search(line)
    if tail is None:
        if line.rstrip().endswith(b"}"):
            yield "is no line of a chain: inserted, or its end was changed"
        else:
            report.torn.append(number)
        return
    chain_id, seq, digest = tail[1].decode(), int(tail[2]), tail[5].decode()
    chain = report.chains.get(chain_id)
    if chain is None:
        chain = report.chains[chain_id] = ChainReport(chain_id, tail[4].decode() if tail[4] else "")
        if seq != 1 or not chain.previous:
            yield f"begins chain {chain_id} at seq {seq}: earlier lines are missing"
            chain.previous = ""
    elif seq != chain.last_seq + 1:
        yield f"has seq {seq} of chain {chain_id} after {chain.last_seq}: lines were removed, moved or inserted"
    known = chain.last_hash or chain.previous
    unhashed = line[: -HASH_LENGTH - 2] + b"}}"
    if known and line_hash(known, unhashed) != digest:
        yield f"does not have the hash that chain {chain_id} asks for: this line or the one before was changed"
    chain.lines, chain.last_seq, chain.last_hash = chain.lines + 1, seq, digest
    chain.lost += int(tail[3] or 0)


def describe(path: str, report: VerifyReport) -> Iterator[str]:
    """The report for a person."""
    yield f"{path}: {report.lines} lines, {len(report.chains)} chains, {'intact' if report.ok else 'BROKEN'}"
    for chain in report.chains.values():
        lost = f", {chain.lost} records lost while the device was down" if chain.lost else ""
        yield f"  {chain.chain_id}: {chain.lines} lines, last hash {chain.last_hash}{lost}"
    if report.torn:
        yield f"  no records, cut short by a crash or a full disk: lines {', '.join(map(str, report.torn[:20]))}"
    for problem in report.problems[:20]:
        yield f"  line {problem.line} {problem.what}"
    if len(report.problems) > 20:
        yield f"  and {len(report.problems) - 20} more"


def main(paths: list[str]) -> int:
    """0: every chain holds. 1: one is broken. 2: a file cannot be read."""
    if not paths:
        sys.stderr.write("usage: python -m audit.verifier FILE…\n")
        return 2
    status = 0
    for path in paths:
        try:
            report = verify_file(path)
        except OSError as exc:
            sys.stderr.write(f"{path}: {exc.strerror}\n")
            return 2
        sys.stdout.writelines(f"{line}\n" for line in describe(path, report))
        status = status if report.ok else 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

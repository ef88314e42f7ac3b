"""What the verifier sees of a tampered file."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from audit.chain import ChainState, new_chain, seal_lines
from audit.verifier import main, verify_file, verify_lines


def _lines(count: int, *, writer: str = "worker-0", lost: int = 0) -> list[bytes]:
    bodies = [b'{"time":"t%d","type":"request"' % i for i in range(count)]
    return seal_lines(new_chain(writer), bodies, lost=lost)[0]


def test_an_untouched_chain_is_intact() -> None:
    report = verify_lines(_lines(5))
    assert report.ok
    assert (report.lines, report.first_broken_line) == (5, None)
    assert [chain.last_seq for chain in report.chains.values()] == [5]


def test_lines_are_json() -> None:
    for number, line in enumerate(_lines(3), start=1):
        chain = json.loads(line)["chain"]
        assert chain["seq"] == number
        assert ("previous" in chain) == (number == 1)


def test_interleaved_chains_are_followed_apart() -> None:
    one, two = _lines(3), _lines(3, writer="worker-1")
    report = verify_lines([one[0], two[0], two[1], one[1], two[2], one[2]])
    assert report.ok
    assert len(report.chains) == 2


def test_an_edited_line_is_found() -> None:
    lines = _lines(5)
    lines[2] = lines[2].replace(b'"t2"', b'"t9"')
    assert verify_lines(lines).first_broken_line == 3


def test_an_edited_line_with_a_fresh_hash_is_found_at_the_next() -> None:
    """Who edits can compute the line's own hash, but not those that follow without rewriting them all."""
    lines = _lines(5)
    first = json.loads(lines[1])["chain"]
    state = ChainState(first["id"], 1, json.loads(lines[0])["chain"]["hash"])
    lines[1] = seal_lines(state, [b'{"time":"forged"'])[0][0]
    assert verify_lines(lines).first_broken_line == 3


@pytest.mark.parametrize(
    ("order", "broken"),
    [
        ([0, 1, 3, 4], 3),  # removed
        ([1, 2, 3, 4], 1),  # the first removed
        ([0, 2, 1, 3, 4], 2),  # reordered
        ([0, 1, 1, 2, 3, 4], 3),  # repeated
    ],
)
def test_removed_reordered_and_repeated_lines_are_found(order: list[int], broken: int) -> None:
    lines = _lines(5)
    assert verify_lines([lines[i] for i in order]).first_broken_line == broken


@pytest.mark.parametrize(
    "inserted",
    [
        b'{"time":"t","type":"request"}\n',
        b'{"time":"t","chain":{"id":"worker-0","seq":1,"hash":"short"}}\n',
        b"[]}\n",
    ],
)
def test_an_inserted_line_without_a_chain_is_found(inserted: bytes) -> None:
    lines = _lines(3)
    assert verify_lines([lines[0], inserted, *lines[1:]]).first_broken_line == 2


def test_an_inserted_line_of_the_same_chain_is_found() -> None:
    lines = _lines(3)
    chain = json.loads(lines[1])["chain"]
    forged = seal_lines(ChainState(chain["id"], 2, chain["hash"]), [b'{"time":"forged"'])[0][0]
    assert verify_lines([*lines[:2], forged, lines[2]]).first_broken_line == 4


def test_a_torn_line_is_named_but_breaks_nothing() -> None:
    lines = _lines(3)
    report = verify_lines([lines[0], lines[1][:40] + b"\n", *lines[1:]])
    assert report.ok
    assert report.torn == [2]


def test_tearing_a_line_of_the_middle_breaks_the_chain() -> None:
    lines = _lines(3)
    assert verify_lines([lines[0], lines[1][:40] + b"\n", lines[2]]).first_broken_line == 3


def test_lost_records_are_counted() -> None:
    report = verify_lines(_lines(2, lost=7))
    assert report.ok
    assert [chain.lost for chain in report.chains.values()] == [7]


def test_the_count_of_lost_records_is_part_of_the_chain() -> None:
    lines = _lines(2, lost=7)
    lines[0] = lines[0].replace(b'"lost":7', b'"lost":1')
    assert verify_lines(lines).first_broken_line == 1


def test_an_outsider_verifies_with_what_the_docstring_says() -> None:
    """`audit.chain`'s rule, written again without its code."""
    known: dict[str, str] = {}
    for line in _lines(4):
        text = line.decode().rstrip("\n")
        chain = json.loads(text)["chain"]
        before = known.get(chain["id"]) or chain["previous"]
        unhashed = re.sub(r',"hash":"[0-9a-f]{64}"\}\}$', "}}", text)
        assert hashlib.sha256((before + unhashed).encode()).hexdigest() == chain["hash"]
        known[chain["id"]] = chain["hash"]


def test_the_command_tells_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.log", tmp_path / "bad.log"
    lines = _lines(3)
    good.write_bytes(b"".join(lines))
    bad.write_bytes(b"".join([lines[0], lines[2]]))
    assert main([str(good)]) == 0
    assert "3 lines, 1 chains, intact" in capsys.readouterr().out
    assert main([str(bad), str(good)]) == 1
    assert "line 2 has seq 3" in capsys.readouterr().out
    assert main([str(tmp_path / "absent")]) == 2
    assert main([]) == 2


def test_an_empty_file_holds_nothing_broken(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert verify_file(tmp_path / "empty").ok

"""The reader of documents itself: what counts as a match, and what must not."""

from pathlib import Path

import pytest

from tests.docs.transcript import Reader, Step, console_steps, guide_steps, output_matches


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (["ssn=123-45-6789"], ["ssn=123-45-6789"]),
        (["key …"], ["key customer-data"]),
        (["mimir:v1:…"], ["mimir:v1:xK8s2pQ7+/=="]),
        (["mimir:v1:xK8s2pQ7..."], ["mimir:v1:AAAA"]),
        (["first", "…", "last"], ["first", "one", "two", "last"]),
        (["first", "…", "last"], ["first", "last"]),
        (["a  "], ["a"]),
        ([], []),
    ],
)
def test_output_matches(expected: list[str], actual: list[str]) -> None:
    assert output_matches(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (["ssn=123-45-6789"], ["ssn=123-45-6780"]),
        (["ssn"], ["ssn", "more"]),
        (["a.c"], ["abc"]),
        (["key …"], ["key "]),
        (["key …"], ["key a", "key b"]),
        (["mimir:v1:…"], ["mimir:v2:AAAA"]),
        (["mimir:v1:…"], ["mimir:v1:not base64!"]),
        ([], ["unexpected"]),
        (["expected"], []),
    ],
)
def test_output_differs(expected: list[str], actual: list[str]) -> None:
    assert not output_matches(expected, actual)


def test_console_blocks_are_read_and_other_blocks_are_not() -> None:
    text = "```sh\nrm -r x\n```\n```console\n$ one \\\n  more\nout\n$ two\n```\n"
    assert console_steps(text) == [Step(5, "one \\\n  more", ["out"]), Step(8, "two", [])]


def test_a_console_block_that_starts_with_output_is_refused() -> None:
    with pytest.raises(AssertionError, match="line 2"):
        console_steps("```console\noutput\n```\n")


def test_guide_comments_are_output_only_below_a_command_or_when_they_say_so() -> None:
    text = "# prose\nencrypt a | \\\n  b\n\n# Output: mimir:v1:x...\n\n# prose\ndecrypt\n# plain\n\n# prose\nrotate\n"
    assert guide_steps(text) == [
        Step(2, "encrypt a | \\\n  b", ["mimir:v1:x..."]),
        Step(8, "decrypt", ["plain"]),
        Step(12, "rotate", None),
    ]


def _reader(folder: Path) -> Reader:
    return Reader({"PATH": "/usr/bin:/bin"}, folder, {"example": "changed"})


def test_an_elided_ciphertext_in_a_command_is_the_last_one_printed(tmp_path: Path) -> None:
    steps = [
        Step(1, "echo mimir:v1:AAAA; echo mimir:v2:BBBB", None),
        Step(2, "echo 'mimir:v1:xyz...' example", ["mimir:v1:AAAA example"]),
    ]
    _reader(tmp_path).follow(steps)


@pytest.mark.parametrize(
    "step",
    [
        Step(1, "echo other", ["expected"]),
        Step(1, "false", []),
        Step(1, "false | true", []),
        Step(1, "true # exit code 2", []),
        Step(1, "echo fault >&2", []),
    ],
)
def test_a_command_that_does_otherwise_than_shown_is_reported(step: Step, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        _reader(tmp_path).follow([step])


def test_a_refusal_may_be_shown(tmp_path: Path) -> None:
    _reader(tmp_path).follow([Step(1, "(echo denied >&2; exit 2) # exit code 2", ["denied"])])


def test_a_verdict_with_a_cross_exits_with_one(tmp_path: Path) -> None:
    _reader(tmp_path).follow([Step(1, "echo '✗ Denied'; exit 1", ["✗ Denied"])])
    with pytest.raises(AssertionError):
        _reader(tmp_path).follow([Step(1, "echo '✗ Denied'", ["✗ Denied"])])


def test_a_document_without_commands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        _reader(tmp_path).follow([])

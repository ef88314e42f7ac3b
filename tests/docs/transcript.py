"""Reads the commands and outputs that a document shows, runs the commands, and compares.

In a ```console block a line that starts with "$ " is a command (a line that ends with a backslash goes on in the next),
and what follows is its output. "…" or "..." stands for any text within a line, and alone on a line for any lines.
`mimir:v1:…` is any ciphertext of that version; in a command it stands for the last one that was printed. A command
must succeed, unless a comment says "# exit code N"; one whose output is "✗ Denied" exits with 1.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ELISION = re.compile(r"…|\.\.\.")
ELIDED_CIPHERTEXT = re.compile(r"mimir:v(\d+):[A-Za-z0-9+/=]*(?:…|\.\.\.)")
CIPHERTEXT = re.compile(r"mimir:v(\d+):[A-Za-z0-9+/]+={0,2}")
EXIT_CODE = re.compile(r"# exit code (\d+)")
COMMAND_TIMEOUT = 60  # seconds


@dataclass(frozen=True)
class Step:
    """A command and the output it must have; None when the document shows none."""

    line: int
    command: str
    output: Sequence[str] | None

    @property
    def exit_code(self) -> int:
        said = EXIT_CODE.search(self.command)
        return int(said.group(1)) if said else int(self.output == ["✗ Denied"])


def fenced_blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """The line number, language and lines of every fenced block of a Markdown document."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = re.match(r"```(\S*)$", lines[number])
        number += 1
        if opening:
            end = lines.index("```", number)
            yield number, opening.group(1), lines[number:end]
            number = end + 1


def console_steps(text: str) -> list[Step]:
    """Every step of every console block, in order."""
    return [step for start, kind, lines in fenced_blocks(text) if kind == "console" for step in _steps(start, lines)]


def _steps(start: int, lines: Sequence[str]) -> Iterator[Step]:
    number = 0
    while number < len(lines):
        assert lines[number].startswith("$ "), f"line {start + number + 1}: a console block starts with a command"
        first, command = number, [lines[number][2:]]
        while command[-1].endswith("\\"):
            number += 1
            command.append(lines[number])
        output = []
        number += 1
        while number < len(lines) and not lines[number].startswith("$ "):
            output.append(lines[number])
            number += 1
        yield Step(start + first + 1, "\n".join(command), output)


def guide_steps(text: str) -> list[Step]:
    """The steps of the user's guide: commands stand bare, comments are prose.

    A comment right below a command, or one that says "# Output:", is that command's output.
    """
    steps: list[Step] = []
    after_command = False
    for number, line in enumerate(text.splitlines(), start=1):
        output = re.match(r"# Output: (.*)", line) or (re.match(r"# (.*)", line) if after_command else None)
        if output:
            steps[-1] = Step(steps[-1].line, steps[-1].command, [output.group(1)])
            after_command = False
        elif not line.strip() or line.startswith("#"):
            after_command = False
        elif steps and steps[-1].command.endswith("\\"):
            steps[-1] = Step(steps[-1].line, f"{steps[-1].command}\n{line}", None)
            after_command = True
        else:
            steps.append(Step(number, line, None))
            after_command = True
    return steps


def guide_policy(text: str) -> tuple[str, str]:
    """The policy that the guide shows, from its comment to the brace that closes it, and the rest of the text."""
    lines = text.splitlines(keepends=True)
    end = lines.index("}\n") + 1
    return "".join(lines[:end]), "".join(lines[end:])


def line_pattern(expected: str) -> str:
    """A regular expression for one line of output."""
    pattern, position = "", 0
    for elided in ELIDED_CIPHERTEXT.finditer(expected):
        pattern += _text_pattern(expected[position : elided.start()])
        pattern += rf"mimir:v{elided.group(1)}:[A-Za-z0-9+/]+={{0,2}}"
        position = elided.end()
    return pattern + _text_pattern(expected[position:])


def _text_pattern(text: str) -> str:
    return ".+".join(re.escape(part) for part in ELISION.split(text))


def output_matches(expected: Sequence[str], actual: Sequence[str]) -> bool:
    """Whether the output is the expected one, trailing blanks aside."""
    pattern = "".join(
        "(?:.*\n)*" if ELISION.fullmatch(line.strip()) else line_pattern(line.rstrip()) + "\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in actual)) is not None


@dataclass
class Reader:
    """Somebody who types the commands of a document, one after the other, and compares what comes."""

    environment: Mapping[str, str]
    folder: Path
    replacements: Mapping[str, str] = field(default_factory=dict)
    _ciphertexts: dict[str, str] = field(default_factory=dict)

    def follow(self, steps: Sequence[Step]) -> None:
        """Run every step; an AssertionError shows the first that differs."""
        assert steps, "the document shows no command"
        for step in steps:
            self._follow(step)

    def _follow(self, step: Step) -> None:
        command = ELIDED_CIPHERTEXT.sub(lambda elided: self._ciphertexts[elided.group(1)], self._here(step.command))
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        for printed in CIPHERTEXT.finditer(done.stdout):
            self._ciphertexts[printed.group(1)] = printed.group(0)
        shown = f"line {step.line}: $ {command}\n{done.stdout}\n(exit code {done.returncode})"
        assert done.returncode == step.exit_code, shown
        if step.output is not None:
            expected = [self._here(line) for line in step.output]
            assert output_matches(expected, done.stdout.splitlines()), shown + "\nexpected:\n" + "\n".join(expected)

    def _here(self, text: str) -> str:
        for written, actual in self.replacements.items():
            text = text.replace(written, actual)
        return text


def plain_environment(home: Path, *, path: Path) -> dict[str, str]:
    """What a new user's shell has: nothing of this process but the search path."""
    return {
        "HOME": str(home),
        "PATH": f"{path}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "COLUMNS": "120",
    }

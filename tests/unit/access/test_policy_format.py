"""The canonical layout: same meaning, same comments, and nothing left to do the second time."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.access.default_policy import DEFAULT_TEXT
from appliance.access.policy_format import format_policy
from appliance.access.policy_text import parse_policy
from core.errors import InvalidRequestError


def meaning(text):
    return [msgspec.structs.replace(rule, line=0) for rule in parse_policy("", text)]


def comments(text):
    return sorted(re.findall(r"c\d+", text))


ROWS = [
    (
        'path "a"{capabilities=["read"]}',
        'path "a" {\n  capabilities = ["read"]\n}\n',
    ),
    (
        'path\t"a"   {\r\n\r\n\r\n capabilities = [ "read" ,"list", ]\r\n\r\n}',
        'path "a" {\n  capabilities = ["read", "list"]\n}\n',
    ),
    (
        'path "a" {}',
        'path "a" {\n}\n',
    ),
    (
        'path "a" {}\npath "b" {}',
        'path "a" {\n}\n\npath "b" {\n}\n',
    ),
    (
        "# only a comment",
        "# only a comment\n",
    ),
    (
        '# one\n\n\n\n# two   \npath "a" {} # three',
        '# one\n\n# two\npath "a" {\n} # three\n',
    ),
    (
        'policy "p" { path "a" {capabilities=["read"]}\n# next\npath "b" {capabilities=["list"]} }',
        (
            'policy "p" {\n  path "a" {\n    capabilities = ["read"]\n  }\n\n  # next\n'
            '  path "b" {\n    capabilities = ["list"]\n  }\n}\n'
        ),
    ),
    (
        'path "a" { # behind the brace\n capabilities = ["read", # behind read\n "list"] // behind the list\n}',
        (
            'path "a" { # behind the brace\n  capabilities = [\n'
            '    "read", # behind read\n    "list",\n  ] // behind the list\n}\n'
        ),
    ),
    (
        'path "a" {\n capabilities = [/* why */ "read"]\n}',
        'path "a" {\n  capabilities = [\n    /* why */\n    "read",\n  ]\n}\n',
    ),
    (
        '/* two\n     lines */\npath "a" {}',
        '/* two\n     lines */\npath "a" {\n}\n',
    ),
    (
        'path "a" { capabilities = ["read"] }\n// path "b" { }',
        'path "a" {\n  capabilities = ["read"]\n}\n\n// path "b" { }\n',
    ),
    (
        '{"path":{"a":{"capabilities":["read"]}}}',
        '{\n  "path": {\n    "a": {\n      "capabilities": [\n        "read"\n      ]\n    }\n  }\n}\n',
    ),
    (
        '{"path":{"ü":{}}}',
        '{\n  "path": {\n    "ü": {}\n  }\n}\n',
    ),
]


@pytest.mark.parametrize(("given", "wanted"), ROWS)
def test_the_layout(given, wanted):
    assert format_policy("", given) == wanted
    assert format_policy("", wanted) == wanted


def test_blocks_and_maps_inside_a_path_block():
    text = (
        'path "a" { capabilities = ["read"]\n time_window { days=["mon-fri"]\n hours = "08:00-18:00" }\n'
        'denied_parameters = { "x" = [], y : ["1", 2] } # why\n}'
    )
    wanted = """\
path "a" {
  capabilities = ["read"]

  time_window {
    days = ["mon-fri"]
    hours = "08:00-18:00"
  }

  denied_parameters = {
    "x" = []
    y = ["1", 2]
  } # why
}
"""
    assert format_policy("", text) == wanted
    assert format_policy("", wanted) == wanted
    assert meaning(wanted)[0].conditions is not None


def test_a_long_list_stands_one_item_a_line():
    names = [f'"parameter-{i}"' for i in range(12)]
    text = f'path "a" {{\n capabilities = ["update"]\n required_parameters = [{", ".join(names)}]\n}}'
    formatted = format_policy("", text)
    assert '    "parameter-0",\n    "parameter-1",\n' in formatted
    assert meaning(formatted) == meaning(text)


def test_a_string_with_marks_of_the_grammar_is_left_alone():
    text = 'path "a/# { } = [ // /* \\" */" {\n  capabilities = ["read"]\n}\n'
    assert format_policy("", text) == text


def test_the_default_policy_keeps_its_meaning():
    assert meaning(format_policy("default", DEFAULT_TEXT)) == meaning(DEFAULT_TEXT)


@pytest.mark.parametrize(
    "text", ["path {", 'path "a" { capabilities = [ }', '{"path": ', "x = 1 = 2", 'path "a" <<EOT\n']
)
def test_what_is_no_policy_is_refused(text):
    with pytest.raises(InvalidRequestError):
        format_policy("", text)


def test_a_text_for_another_name_is_refused():
    with pytest.raises(InvalidRequestError, match="names the policy"):
        format_policy("p", 'policy "q" { path "a" {} }')


class _Writer:
    """Writes one policy in many ways: blanks, line breaks and numbered comments wherever the grammar takes them."""

    def __init__(self, draw):
        self._draw = draw
        self._count = 0

    def _comment(self, *, inline):
        self._count += 1
        kinds = ["/* c{} */"] if inline else ["# c{}\n", "// c{}  \n", "/* c{}\n more */\n", "/* c{} */\n"]
        return self._draw(st.sampled_from(kinds)).format(self._count)

    def blank(self):
        """Between two tokens of a line."""
        choice = self._draw(st.integers(0, 9))
        return "  " if choice == 0 else "\t" if choice == 1 else " "

    def filler(self, *, inside_list=False):
        """Between lines, or between the items of a list."""
        text = ""
        for _ in range(self._draw(st.integers(0, 2))):
            choice = self._draw(st.integers(0, 4))
            if choice == 0:
                text += self._comment(inline=False)
            elif choice == 1 and inside_list:
                text += self._comment(inline=True)
            else:
                text += self._draw(st.sampled_from(["\n", "\n\n\n", "\r\n", "   \n", "  "]))
        return text

    def end(self):
        """Of a line."""
        return self._draw(st.sampled_from(["\n", "\r\n", " # c0\n", "  // c0 \n", " /* c0 */\n", "\n\n\n"]))

    def listed(self, words):
        text = "["
        for position, word in enumerate(words):
            text += self.filler(inside_list=True) + f'"{word}"' + ("," if position < len(words) - 1 else "")
        return text + self._draw(st.sampled_from(["", ","] if words else [""])) + self.filler(inside_list=True) + "]"

    def block(self, path, capabilities, required):
        text = f'path{self.blank()}"{path}"{self.blank()}{{' + self.end()
        text += self.filler() + f"capabilities{self.blank()}={self.blank()}{self.listed(capabilities)}" + self.end()
        if required:
            text += self.filler() + f"required_parameters = {self.listed(required)}" + self.end()
        if self._draw(st.booleans()):
            text += self.filler() + f"time_window{self.blank()}{{" + self.end() + 'hours = "08:00-18:00"' + self.end()
            text += self.filler() + "}" + self.end()
        return text + self.filler() + "}" + self.end()


@st.composite
def policies(draw):
    writer = _Writer(draw)
    words = st.lists(st.sampled_from(["read", "list", "update", "sudo"]), max_size=4)
    text = writer.filler()
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(["a", "a/*", "b/+/c", "#{}", "x//y/*", 'quo\\"te']))
        text += writer.block(path, draw(words), draw(words)) + writer.filler()
    if draw(st.booleans()):
        text = f'policy "p" {{{writer.end()}{text}}}{writer.end()}'
    return text


@settings(max_examples=80, deadline=None)
@given(policies())
def test_meaning_and_comments_stay_and_a_second_time_changes_nothing(text):
    formatted = format_policy("", text)
    assert meaning(formatted) == meaning(text)
    assert comments(formatted) == comments(text)
    assert format_policy("", formatted) == formatted
    assert "\t" not in formatted
    assert " \n" not in formatted
    assert "\n\n\n" not in formatted


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='path"a{}[]=,:#/*+ \n\r\\capbilites1.-', max_size=60))
def test_any_text_is_formatted_or_refused(text):
    try:
        formatted = format_policy("", text)
    except InvalidRequestError:
        return
    assert meaning(formatted) == meaning(text)
    assert format_policy("", formatted) == formatted

"""Templates of statements: where a placeholder stands decides how it is quoted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from dynamic.sql_text import NAMES, Dialect, mentions, parse_statements
from dynamic.target import StatementKind, TargetRefusedError

POSTGRESQL, MYSQL = Dialect.POSTGRESQL, Dialect.MYSQL
VALUES = {"name": "a\"b'c`d\\e", "username": "plain", "password": "p'\\\"", "expiration": "2026-01-01"}


def rendered(text: str, dialect: Dialect = POSTGRESQL, **values: str) -> list[str]:
    return parse_statements((text,), dialect, StatementKind.CREATION).render(VALUES | values)


@pytest.mark.parametrize(
    ("dialect", "template", "wanted"),
    [
        (POSTGRESQL, 'DROP ROLE "{{name}}"', 'DROP ROLE "a""b\'c`d\\e"'),
        (POSTGRESQL, "DROP ROLE {{name}}", 'DROP ROLE "a""b\'c`d\\e"'),
        (POSTGRESQL, "DROP ROLE {{ name }}", 'DROP ROLE "a""b\'c`d\\e"'),
        (POSTGRESQL, "PASSWORD '{{password}}'", "PASSWORD 'p''\\\"'"),
        (POSTGRESQL, "PASSWORD {{password}}", "PASSWORD 'p''\\\"'"),
        (POSTGRESQL, "PASSWORD E'{{password}}'", "PASSWORD E'p\\'\\\\\\\"'"),
        (POSTGRESQL, "PASSWORD e'\\'{{password}}'", "PASSWORD e'\\'p\\'\\\\\\\"'"),
        (POSTGRESQL, "x.type'{{password}}'", "x.type'p''\\\"'"),  # no E string: the E ends a word
        (POSTGRESQL, "UNTIL '{{expiration}}'", "UNTIL '2026-01-01'"),
        (POSTGRESQL, "'it''s {{username}}'", "'it''s plain'"),
        (POSTGRESQL, "'{{1,2},{3,4}}'::int[]", "'{{1,2},{3,4}}'::int[]"),
        (POSTGRESQL, "SELECT $1, a$b$c FROM {{username}}", 'SELECT $1, a$b$c FROM "plain"'),
        (MYSQL, "CREATE USER '{{name}}'@'%'", "CREATE USER 'a\\\"b\\'c`d\\\\e'@'%'"),
        (MYSQL, 'CREATE USER "{{name}}"', 'CREATE USER "a\\"b\\\'c`d\\\\e"'),
        (MYSQL, "DROP USER `{{name}}`", "DROP USER `a\"b'c``d\\e`"),
        (MYSQL, "DROP USER {{name}}", "DROP USER `a\"b'c``d\\e`"),
        (MYSQL, "IDENTIFIED BY {{password}}", "IDENTIFIED BY 'p\\'\\\\\"'"),
        (MYSQL, "SELECT 5--{{username}}", "SELECT 5--`plain`"),  # no comment: nothing blank follows
    ],
)
def test_quoted_by_its_place(dialect: Dialect, template: str, wanted: str) -> None:
    assert rendered(template, dialect) == [wanted]


@pytest.mark.parametrize("dialect", Dialect)
def test_statements_end_at_semicolons_that_are_not_quoted(dialect: Dialect) -> None:
    text = "A ';' ; B \";\" /* ; */ -- ;\n C;; \n;D"
    assert rendered(text, dialect) == ["A ';'", 'B ";" /* ; */ -- ;\n C', "D"]


def test_dollar_quotes_hold_one_statement() -> None:
    text = "DO $x$ BEGIN DROP ROLE \"{{username}}\"; PERFORM '{{username}}'; END $x$; SELECT 1"
    assert rendered(text) == ["DO $x$ BEGIN DROP ROLE \"plain\"; PERFORM 'plain'; END $x$", "SELECT 1"]


def test_comments_nest_in_postgresql_alone() -> None:
    assert rendered("/* /* ; */ ; */ A; B") == ["/* /* ; */ ; */ A", "B"]
    assert rendered("/* /* ; */ A; B", MYSQL) == ["/* /* ; */ A", "B"]


def test_a_hash_begins_a_comment_in_mysql_alone() -> None:
    assert rendered("A # ;\nB; C", MYSQL) == ["A # ;\nB", "C"]
    assert rendered("A # 2; C") == ["A # 2", "C"]


@pytest.mark.parametrize(
    ("dialect", "template", "sentence"),
    [
        (POSTGRESQL, "CREATE ROLE {{nam}}", "statement 1: there is no placeholder {{nam}}"),
        (POSTGRESQL, "CREATE ROLE {{name", "a placeholder is not closed"),
        (POSTGRESQL, "CREATE ROLE '{{name}}", "a quote (') is not closed"),
        (POSTGRESQL, 'CREATE ROLE "{{name}}', 'a quote (") is not closed'),
        (MYSQL, "CREATE USER `{{name}}", "a quote (`) is not closed"),
        (MYSQL, "CREATE USER '{{name}}\\'", "a quote (') is not closed"),
        (POSTGRESQL, "DO $a$ {{name}} $b$", "what $a$ begins is not ended"),
        (POSTGRESQL, "/* /* */ {{name}}", "a comment is not ended"),
        (POSTGRESQL, "SELECT 1 -- {{name}}", "{{name}} stands in a comment"),
        (MYSQL, "SELECT 1 /* {{password}} */", "{{password}} stands in a comment"),
        (MYSQL, "prepare s from 'DROP USER {{name}}'", "PREPARE makes statements of strings"),
        (POSTGRESQL, "SELECT \0", "a NUL character"),
    ],
)
def test_refused_when_it_is_written(dialect: Dialect, template: str, sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_statements((template,), dialect, StatementKind.CREATION)
    assert caught.value.sentence.startswith("creation_statements, statement 1: ")
    assert sentence in caught.value.sentence


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("DO $$ BEGIN DROP ROLE {{name}}; END $$", "a$$b"),
        ("DO $$ BEGIN EXECUTE 'DROP ROLE \"{{name}}\"'; END $$", 'a"; DROP ROLE root; --'),
        ("DO $$ BEGIN EXECUTE 'DROP ROLE {{name}}'; END $$", "a'b"),
        ("DROP ROLE {{name}}", "a\0b"),
        ("SELECT dblink_exec('db', 'DROP ROLE \"{{name}}\"')", 'a"; DROP ROLE root; --'),
        ("SELECT dblink_exec('db', 'COMMENT ON ROLE x IS ''{{name}}'';')", "a'; DROP ROLE root; --"),
    ],
)
def test_a_value_that_its_place_cannot_hold(template: str, value: str) -> None:
    with pytest.raises(TargetRefusedError, match="cannot stand where the statements put it"):
        rendered(template, name=value)


def test_a_placeholder_without_a_value() -> None:
    script = parse_statements(("PASSWORD '{{password}}'",), POSTGRESQL, StatementKind.RENEWAL)
    with pytest.raises(TargetRefusedError, match="which there is not here"):
        script.render({"name": "a"})


def test_mentions() -> None:
    assert mentions(parse_statements(("A {{username}}",), POSTGRESQL, StatementKind.CREATION), NAMES)
    assert not mentions(parse_statements(("A '{{password}}'",), POSTGRESQL, StatementKind.CREATION), NAMES)


@given(text=st.text(alphabet="'\"`$;-/*#\\{}aE \nname", max_size=40), dialect=st.sampled_from(Dialect))
def test_parsing_ends_in_a_script_or_in_a_sentence(text: str, dialect: Dialect) -> None:
    try:
        script = parse_statements((text,), dialect, StatementKind.CREATION)
    except InvalidRequestError:
        return
    assert "".join(script.render({"name": "", "username": "", "password": "", "expiration": ""})) is not None


@given(value=st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20))
def test_a_value_never_changes_where_statements_end(value: str) -> None:
    template = "A '{{password}}' {{password}} E'{{password}}' \"{{name}}\" {{name}}; B"
    for dialect in Dialect:
        assert len(rendered(template, dialect, name=value, password=value)) == 2
        for statement in rendered(template, dialect, name=value, password=value):
            parse_statements((statement.replace("{{", "{ {"),), dialect, StatementKind.CREATION)

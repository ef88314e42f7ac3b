"""README.md and the user's guide, followed on an appliance that the quickstart has started."""

import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import Config
from tests.docs.transcript import (
    Reader,
    Step,
    console_steps,
    fenced_blocks,
    guide_policy,
    guide_steps,
    plain_environment,
)

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
README = (ROOT / "README.md").read_text()
POLICIES = (ROOT / "docs/policies.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
NOTHING = Step(0, "true", None)
WRITTEN_ADDRESS = "127.0.0.1:8200"  # what the documents show; the test takes a port that is free

pytestmark = pytest.mark.timeout(300)  # the first start makes the environment when there is none


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A new user who has run scripts/quickstart, and will stop it."""
    home = tmp_path_factory.mktemp("home")
    programs, address = home / "bin", f"127.0.0.1:{_free_port()}"
    environment = plain_environment(home, path=programs) | {
        "MIMIR_QUICKSTART_LISTEN": address,
        "MIMIR_QUICKSTART_BIN": str(programs),
    }
    try:
        output = _quickstart(environment)
        assert re.search(r"encrypted 'attack at dawn': mimir:v1:\S+", output), output
        yield Reader(environment | {"MIMIR_ADDR": f"http://{address}"}, ROOT, {WRITTEN_ADDRESS: address})
    finally:
        _quickstart(environment, "--stop")


def _quickstart(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [ROOT / "scripts/quickstart", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_readme_shows_what_happens(reader: Reader) -> None:
    reader.follow(console_steps(README))
    _run_python_blocks(reader)


def _section(title: str) -> str:
    """A section of the page on operations."""
    found = re.search(rf"^## {title}\n(.*?)^## ", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def _run_python_blocks(reader: Reader) -> None:
    """Each block checks itself with assertions; it finds the appliance as Vault's clients do."""
    init = Path(reader.environment["HOME"]) / ".local/share/mimir-quickstart/init.json"
    token = json.loads(init.read_text())["root_token"]
    environment = {**reader.environment, "VAULT_ADDR": reader.environment["MIMIR_ADDR"], "VAULT_TOKEN": token}
    blocks = [(start, block) for start, kind, block in fenced_blocks(README) if kind == "python"]
    assert blocks
    for start, block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(block)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"line {start}:\n{done.stderr}"


def test_guide_shows_what_happens(reader: Reader) -> None:
    """With a key of its own: README.md's has the guide's name, and one appliance serves both."""
    own_key = {**reader.replacements, "customer-data": "guide-customer-data"}
    Reader(reader.environment, reader.folder, own_key).follow(guide_steps((HERE / "guide.txt").read_text()))


def test_the_page_on_policies_shows_what_happens(reader: Reader) -> None:
    reader.follow(console_steps(POLICIES))


def test_guide_s_policy_allows_and_denies_what_it_says(reader: Reader, tmp_path: Path) -> None:
    policy, rest = guide_policy((HERE / "guide_policies.txt").read_text())
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "orders-api.hcl").write_text(policy)
    steps = guide_steps(rest)
    assert [step.exit_code for step in steps] == [0, 0, 1]
    Reader(reader.environment, tmp_path).follow(steps)


def test_transit_keys_live_as_the_page_on_operations_says(reader: Reader, tmp_path: Path) -> None:
    here = Reader(
        reader.environment, tmp_path, {"mimir transit key create orders": "mimir transit key create ops-orders"}
    )
    before = (
        "mimir transit key create shared --allow-plaintext-backup",
        "mimir transit encrypt orders --input aGk= > ciphertexts.txt",
        "mimir transit key rotate orders",
    )
    after_each = "mimir transit config write --require-custody none --no-disable-upsert"
    here.follow([Step(0, command, None) for command in before])
    for start, kind, lines in fenced_blocks(_section("Transit keys")):
        assert kind == "sh"
        here.follow([Step(start, command, None) for command in [*lines, after_each]])


def test_access_is_set_up_as_the_page_on_operations_says(reader: Reader, tmp_path: Path) -> None:
    """All commands of the section but the login that asks for a password; the networks are this machine's."""
    blocks = list(fenced_blocks(_section("Who may do what")))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "orders-api.hcl").write_text(
        'path "transit/encrypt/+" {\n  capabilities = ["update"]\n}\n'
    )
    (tmp_path / "first-password").write_text("correct horse")
    (tmp_path / "admins.hcl").write_text(
        "\n".join(line for _, kind, lines in blocks if kind == "hcl" for line in lines)
    )
    here = Reader(reader.environment, tmp_path, {"10.20.0.0/16": "127.0.0.0/8", "10.20.0.7": "127.0.0.1"})
    # what README.md's tour left, and an older version to compare with
    before = ("auth disable approle", "namespace delete team-a", "policy write orders-api policies/orders-api.hcl")
    here.follow([Step(0, f"mimir {command}", None) for command in before])
    asking = "mimir login --method userpass"
    for start, kind, lines in blocks:
        commands = "\n".join(line for line in lines if not line.startswith(asking)).replace("\\\n", "")
        here.follow([Step(start, command, None) for command in commands.splitlines() if kind == "sh"] or [NOTHING])
    token = (tmp_path / "token").read_text()
    assert token.startswith("hvb.")


def test_quickstart_again_finds_the_appliance_running(reader: Reader) -> None:
    again = _quickstart(dict(reader.environment))
    assert "already runs" in again
    assert re.search(r"encrypted 'attack at dawn': mimir:v2:\S+", again), again


def test_quickstart_names_the_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = plain_environment(tmp_path, path=tmp_path) | {"MIMIR_QUICKSTART_LISTEN": address}
        done = subprocess.run(
            [ROOT / "scripts/quickstart"], env=environment, capture_output=True, text=True, timeout=280, check=False
        )
    assert done.returncode == 1
    assert f"something else listens on {address}" in done.stderr


def test_quickstart_refuses_an_address_that_is_none(tmp_path: Path) -> None:
    environment = plain_environment(tmp_path, path=tmp_path) | {"MIMIR_QUICKSTART_LISTEN": "nonsense"}
    done = subprocess.run(
        [ROOT / "scripts/quickstart"], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 1
    assert "MIMIR_QUICKSTART_LISTEN is an IP address and a port" in done.stderr


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md"])
def test_configurations_shown_are_ones_the_appliance_takes(document: str) -> None:
    text = (ROOT / document).read_text()
    # inside a list a block is indented
    blocks = re.findall(r"^( *)```toml\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    whole = [tomllib.loads(block) for _, block in blocks if "[hsm]" in block]
    assert whole
    for configuration in whole:
        Config.parse(configuration, source=document)


@pytest.mark.parametrize("document", sorted(path.name for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]))
def test_links_between_documents_lead_somewhere(document: str) -> None:
    path = next(p for p in (ROOT / document, ROOT / "docs" / document) if p.exists())
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{document} links to {target}, which does not exist"


@pytest.mark.parametrize("document", sorted(path.name for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]))
def test_documents_hold_no_note_to_their_writers(document: str) -> None:
    path = next(p for p in (ROOT / document, ROOT / "docs" / document) if p.exists())
    notes = re.findall(r"<!--(?! not run: ).*?-->", path.read_text(), re.DOTALL)
    assert notes == []


def test_readme_runs_every_mimir_command_it_shows() -> None:
    """A block that is not run says why, in a comment right above it."""
    lines = README.splitlines()
    for start, kind, block in fenced_blocks(README):
        if kind != "console" and any(re.match(r"(\S*/)?mimir ", line) for line in block):
            assert lines[start - 2].startswith("<!-- not run: "), f"line {start}: a block of mimir commands is not run"

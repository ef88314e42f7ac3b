"""`mimir` as a process: start-up, pipes, completion, becoming the appliance."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("aiohttp", "sqlalchemy", "rich", "cryptography", "yaml", "ssl", "shamir_mnemonic"),
    *("msgspec", "asyncio", "hcl2", "pkcs11", "structlog", "importlib.metadata"),
)


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MIMIR_", "VAULT_", "PYTHON"))}
    return kept | {"PYTHONPATH": str(ROOT), "MIMIR_TOKEN": "s.t"} | changes


def start(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: PLW1510 - each test looks at the exit code itself
        [sys.executable, "-m", "client", *arguments], text=True, timeout=60, **{"capture_output": True} | options
    )


def test_encrypt_imports_nothing_heavy(appliance):
    """Start-up is paid by every command of every script."""
    appliance.gives(ciphertext="mimir:v1:AA==")
    program = """
import json, sys
from client import main
sys.argv = ["mimir", "transit", "encrypt", "k", "--input", "-"]
try:
    main.main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="aGk=\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment(MIMIR_ADDR=appliance.address),
    )
    ciphertext, modules = done.stdout.splitlines()
    assert ciphertext == "mimir:v1:AA=="
    loaded = json.loads(modules)
    assert "http.client" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_other_commands_are_not_imported(appliance):
    program = "import sys; from client.main import run; run(['version'], {}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    assert [name for name in done.stdout.split() if name.startswith("client.commands.")] == ["client.commands.version"]


def test_python_m_client_is_mimir():
    done = start("--help", env=environment())
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: mimir ")


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request):
    """Python writes its output in another way when PYTHONUNBUFFERED is set, and fails in another way."""
    return {"PYTHONUNBUFFERED": request.param}


def test_a_reader_that_goes_away_is_no_traceback(appliance, buffering):
    appliance.answers(200, {"data": {"keys": ["key"] * 100_000}})
    process = subprocess.Popen(
        [sys.executable, "-m", "client", "list", "a"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(MIMIR_ADDR=appliance.address, **buffering),
    )
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize("arguments", [("read", "a"), ("--help",)])
def test_a_full_disk_under_the_output_is_an_error(appliance, buffering, arguments):
    appliance.gives(a=1)
    with Path("/dev/full").open("w") as full:
        done = start(
            *arguments,
            env=environment(MIMIR_ADDR=appliance.address, **buffering),
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"


def test_a_closed_standard_output_is_an_error(appliance):
    appliance.gives(a=1)
    command = f"'{sys.executable}' -m client read a >&-"
    settings = environment(MIMIR_ADDR=appliance.address)
    done = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, check=False, env=settings)
    assert (done.returncode, done.stderr) == (1, "Error: there is no standard output to write to\n")


def test_a_closed_standard_input_is_an_error(appliance):
    command = f"'{sys.executable}' -m client write a k=- <&-"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env=environment(MIMIR_ADDR=appliance.address),
    )
    assert done.returncode == 1
    assert "standard input" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_text_that_the_terminal_has_not_is_escaped(appliance, encoding):
    appliance.gives(name="Þór ✓")
    done = start(
        "read", "a", env=environment(MIMIR_ADDR=appliance.address, PYTHONIOENCODING=encoding), encoding="latin-1"
    )
    assert done.returncode == 0
    assert "\\u2713" in done.stdout


@pytest.mark.parametrize(
    ("words", "offered"), [("mimir tran", "transit"), ("mimir transit key cr", "create"), ("mimir -o js", "json")]
)
def test_the_shell_completes_commands_and_choices(words, offered):
    settings = environment(_MIMIR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert f"plain,{offered}" in start(env=settings).stdout.splitlines()


@pytest.mark.parametrize(
    ("options", "shown"), [((), b"hi\r\n"), (("--raw",), b"hi"), (("--field", "plaintext"), b"aGk=\r\n")]
)
def test_on_a_terminal_a_line_break_follows_the_plaintext(appliance, options, shown):
    appliance.gives(plaintext="aGk=")
    leader, follower = os.openpty()
    start(
        *("transit", "decrypt", "k", "--ciphertext", "c", *options),
        env=environment(MIMIR_ADDR=appliance.address),
        capture_output=False,
        stdout=follower,
    )
    os.write(follower, b"END")
    seen = b""
    while not seen.endswith(b"END"):
        seen += os.read(leader, 1024)
    os.close(follower)
    os.close(leader)
    assert seen == shown + b"END"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_the_program(shell):
    done = start("completion", shell, env=environment())
    assert done.returncode == 0
    assert f"_MIMIR_COMPLETE={shell}_complete" in done.stdout


def test_the_bash_script_is_bash():
    script = start("completion", "bash", env=environment()).stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)


SERVER = [
    (
        ("--dev", "--data-dir", "d"),
        ["--dev", "--data-dir", "d", "--listen", "127.0.0.1:8200"],
    ),
    (
        ("--tls", "--no-init", "--workers", "2", "--listen", "[::1]:0", "--data-dir", "d", "--dev"),
        ["--dev", "--data-dir", "d", "--listen", "[::1]:0", "--workers", "2", "--no-init", "--tls"],
    ),
    (("--config", "/dev/null"), ["--config", "/dev/null"]),
]


@pytest.mark.parametrize(("arguments", "passed"), SERVER, ids=lambda _: None)
def test_server_becomes_the_appliance(mimir, monkeypatch, arguments, passed):
    class BecameError(Exception):
        pass

    calls = []

    def execv(path: str, argv: list[str]) -> None:
        calls.append((path, argv))
        raise BecameError

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setenv("PYTHONPATH", "")
    mimir("server", *arguments)
    assert calls == [(sys.executable, [sys.executable, "-P", "-m", "appliance", *passed])]


def test_the_appliance_is_not_taken_from_the_current_directory(tmp_path):
    (tmp_path / "appliance").mkdir()
    (tmp_path / "appliance" / "__main__.py").write_text("print('hijacked')")
    (tmp_path / "json.py").write_text("print('hijacked')")
    program = (
        "import sys; from client.main import main; sys.argv = ['mimir', 'server', '--config', '/dev/null']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=environment(),
    )
    assert "hijacked" not in done.stdout + done.stderr

"""The unit and its companions, checked by systemd's own tools."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from appliance.config import Config

UNITS = Path(__file__).parents[2] / "systemd"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_unit_is_valid(tmp_path: Path) -> None:
    """`verify` wants the program to exist: the copy has one that does."""
    text = (UNITS / "mimir.service").read_text()
    assert "ExecStart=/opt/mimir/bin/mimir server --config /etc/mimir/mimir.toml" in text
    copy = tmp_path / "mimir.service"
    copy.write_text(text.replace("/opt/mimir/bin/mimir", "/bin/true"))
    done = run("systemd-analyze", "verify", "--recursive-errors=no", str(copy))
    complaints = [line for line in done.stderr.splitlines() if "mimir.service" in line]
    assert (done.returncode, complaints) == (0, [])


def test_exposure_is_at_most_1_5() -> None:
    done = run("systemd-analyze", "security", "--offline=yes", "--threshold=15", str(UNITS / "mimir.service"))
    assert done.returncode == 0, done.stdout[-2000:]
    (level,) = re.findall(r"Overall exposure level for mimir.service: ([0-9.]+)", done.stdout)
    assert float(level) <= 1.5


@pytest.mark.parametrize(
    "line",
    ["Type=notify", "NotifyAccess=main", "LimitCORE=0", "StateDirectory=mimir", "RuntimeDirectory=mimir", "User=mimir"],
)
def test_unit_says(line: str) -> None:
    assert line in (UNITS / "mimir.service").read_text().splitlines()


def test_unit_has_the_pin_as_credential_and_a_watchdog() -> None:
    text = (UNITS / "mimir.service").read_text()
    assert re.search(r"^LoadCredential(Encrypted)?=hsm-pin:", text, re.MULTILINE)
    assert re.search(r"^WatchdogSec=\d+", text, re.MULTILINE)
    assert re.search(r"^RestartPreventExitStatus=78$", text, re.MULTILINE)


def test_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "mimir.sysusers.conf"))
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^mimir:.*:/var/lib/mimir:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text(), re.MULTILINE
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="gives directories to another user")
def test_directories_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "mimir.sysusers.conf"))
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(UNITS / "mimir.tmpfiles.conf"))
    assert done.returncode == 0, done.stderr
    modes = {path: (tmp_path / path).stat().st_mode & 0o777 for path in ("etc/mimir", "var/lib/mimir", "var/log/mimir")}
    assert modes == {"etc/mimir": 0o750, "var/lib/mimir": 0o700, "var/log/mimir": 0o700}


def test_example_configuration_is_valid() -> None:
    config = Config.load(UNITS / "mimir.toml.example")
    assert config.hsm.pin_credential == "hsm-pin"


def test_commented_defaults_of_the_example_are_the_defaults() -> None:
    """Every commented setting, put in force, is accepted and changes nothing."""
    text = (UNITS / "mimir.toml.example").read_text()
    optional = {"tls_client_ca", "api_addr"}  # shown with a value that is no default
    loud = re.sub(r"^# (?=(\w+) = )", lambda found: "#" if found.group(1) in optional else "", text, flags=re.MULTILINE)
    assert loud != text
    assert Config.parse(tomllib.loads(loud), source="/etc/x") == Config.parse(tomllib.loads(text), source="/etc/x")

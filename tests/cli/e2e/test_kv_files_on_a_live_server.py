"""`mimir kv import` of files and `mimir kv export`, against the real server; the command runs in this process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client.main import run
from tests.support.appliance import Appliance

Mimir = Callable[..., str]


@pytest.fixture
def mimir(
    live: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Mimir:
    """What `mimir kv …` prints."""
    live.client().sys.enable_secrets_engine("kv", path="files", options={"version": "2"})
    live.client().secrets.transit.create_key("backups")
    environ = {"MIMIR_ADDR": live.address, "MIMIR_TOKEN": live.root_token, "HOME": str(tmp_path)}

    def call(*words: str, given: str = "", code: int = 0) -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        assert run(("kv", *words), environ) == code
        return capsysbinary.readouterr().out.decode()

    return call


def test_files_come_in_and_go_out_sealed(mimir: Mimir, tmp_path: Path) -> None:
    def bring(text: str, *more: str, code: int = 0) -> dict[str, object]:
        words = ("import", "--from-json", "-", "--to", "files/", "-o", "json", *more)
        return dict(json.loads(mimir(*words, given=text, code=code)))

    first = bring('{"apps/web": {"n": 1.10, "big": 12345678901234567890}, "apps/ünï": {"b": "c"}}')
    assert (first["imported"], first["verified"], first["failed"]) == (2, 2, 0)
    changed = '{"path": "apps/web", "data": {"n": 2}}\n{"path": "apps/ünï", "data": {"b": "c"}}\n'
    again = bring(changed, code=1)
    assert (again["present"], again["failed"]) == (1, 1)
    assert again["failures"] == [
        {"path": "files/apps/web", "error": "it is there already and differs: see --on-conflict"}
    ]
    assert bring(changed, "--on-conflict", "skip")["skipped"] == 1
    assert bring(changed, "--on-conflict", "new-version")["versions"] == 1
    mimir("import", "--from-dotenv", "-", "--to", "files/env", given="export A='$B' # c\n")
    assert mimir("get", "files/env", "--field", "A") == "$B"
    file = str(tmp_path / "x.sealed")
    assert "3 secrets with 4 versions" in mimir("export", "files/", "--transit-key", "backups", "--out", file)
    words = ("import", "--from-export", file, "--transit-key", "backups", "--to", "files/copy")
    assert "3 secrets were read back" in mimir(*words)
    assert "1.10" in mimir("get", "files/copy/apps/web", "--version", "1", "-o", "json")

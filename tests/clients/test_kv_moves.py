"""Secrets move from a real OpenBao into Mimir, all versions and metadata; and out of Mimir into a sealed file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import hvac
import pytest

from tests.clients.bao import Bao
from tests.clients.conftest import openbao
from tests.support.appliance import ROOT, clean_environment

pytestmark = pytest.mark.heavy  # needs another server's program

Json = dict[str, Any]
NUMBERS = (
    '{"big": 12345678901234567890123, "f": 1.10, "e": 1E5, "small": 1e-400, "z": [0.10, {"deep": 2.50}], "n": null}'
)
EXACT = json.loads(NUMBERS, parse_float=str, parse_int=str)
ODD = ["ünï/cödé:x y", "100%/a+b?c#d", "dir", "dir/child", "emoji/\N{KEY}", "end ", "@at/~tilde/(x)'s"]


def ask(server: Bao, method: str, path: str, body: Json | str | None = None, *, query: str = "") -> Json:
    """One request, its numbers as text."""
    data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    url = f"{server.address}/v1/{urllib.parse.quote(path, safe='/')}{query}"
    call = urllib.request.Request(url, data=data, method=method, headers={"X-Vault-Token": server.token})
    try:
        with urllib.request.urlopen(call, timeout=30) as reply:
            content = reply.read()
    except urllib.error.HTTPError as error:
        with error:
            content = error.read()
    parsed = json.loads(content, parse_float=str, parse_int=str) if content.strip() else {}
    return dict(parsed.get("data") or {})


def put(server: Bao, mount: str, name: str, data: Json | str, **options: int) -> None:
    values = data if isinstance(data, str) else json.dumps(data)
    path = f"{mount}/data/{urllib.parse.quote(name, safe='/')}"
    body = f'{{"data": {values}, "options": {json.dumps(options)}}}'
    call = urllib.request.Request(
        f"{server.address}/v1/{path}", data=body.encode(), headers={"X-Vault-Token": server.token}
    )
    urllib.request.urlopen(call, timeout=30).close()


def mimir_environment(ours: Bao, theirs: Bao, home: Path, **changes: str) -> dict[str, str]:
    """VAULT_* speak of the source, MIMIR_* of us."""
    own = {"MIMIR_ADDR": ours.address, "MIMIR_TOKEN": ours.token, "VAULT_TOKEN": theirs.token, "HOME": str(home)}
    return clean_environment() | own | {"VAULT_ADDR": theirs.address} | changes


class Mimir:
    def __init__(self, ours: Bao, theirs: Bao, home: Path) -> None:
        self.ours, self.theirs, self.home = ours, theirs, home

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "client", "kv", *words, "-o", "json"],
            env=mimir_environment(self.ours, self.theirs, self.home, **environ),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *words: str, **environ: str) -> tuple[int, Json, str]:
        process = self.start(*words, **environ)
        out, err = process.communicate(timeout=120)
        return process.returncode, json.loads(out) if out.strip() else {}, err

    def from_bao(self, mount: str, to: str, *more: str, address: str = "", **environ: str) -> tuple[int, Json, str]:
        return self.run(*self.words(mount, to, address), *more, **environ)

    def words(self, mount: str, to: str, address: str = "") -> list[str]:
        return ["import", "--from-vault", address or self.theirs.address, "--source-mount", mount, "--to", to]


@pytest.fixture(scope="module")
def mimir(ours: Bao, theirs: Bao, tmp_path_factory: pytest.TempPathFactory) -> Mimir:
    return Mimir(ours, theirs, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def source(theirs: Bao) -> Bao:
    """Two mounts with all that can be odd about a secret."""
    theirs.must("secrets enable -path=old -version=1 kv")
    theirs.must("secrets enable -path=new -version=2 kv")
    for name in ODD:
        put(theirs, "new", name, {"name": name})
        ask(theirs, "POST", f"old/{name}", {"name": name})
    ask(theirs, "POST", "old/numbers", NUMBERS)
    put(theirs, "new", "numbers", NUMBERS)
    ask(theirs, "POST", "new/metadata/many", {"max_versions": 10, "custom_metadata": {"team": "pay", "tier": "1"}})
    for number in range(1, 13):
        put(theirs, "new", "many", {"n": number})
    ask(theirs, "POST", "new/delete/many", {"versions": [5, 12]})
    ask(theirs, "POST", "new/destroy/many", {"versions": [7]})
    ask(theirs, "POST", "new/metadata/timed", {"delete_version_after": "3h25m19s"})
    put(theirs, "new", "timed", {"a": 1})
    ask(theirs, "POST", "new/metadata/careful", {"cas_required": True})
    put(theirs, "new", "careful", {"a": 1}, cas=0)
    ask(theirs, "POST", "new/metadata/empty", {"custom_metadata": {"only": "this"}})
    return theirs


def enable(ours: Bao, mount: str) -> str:
    ours.must(f"secrets enable -path={mount} -version=2 kv")
    return mount


def names(client: hvac.Client, mount: str, folder: str = "") -> list[str]:
    listed = client.secrets.kv.v2.list_secrets(folder, mount_point=mount)["data"]["keys"]
    found = []
    for name in listed:
        found += names(client, mount, folder + name) if name.endswith("/") else [folder + name]
    return sorted(found)


def metadata(server: Bao, mount: str, name: str) -> Json:
    """By hvac, which is not ours."""
    client = hvac.Client(url=server.address, token=server.token)
    answer = client.secrets.kv.v2.read_secret_metadata(name, mount_point=mount)
    return dict(answer["data"])


KEPT = ("cas_required", "created_time", "current_version", "custom_metadata", "delete_version_after", "max_versions")
TIMES = ("created_time", "deletion_time")


def test_all_of_version_2_comes(mimir: Mimir, source: Bao, ours: Bao) -> None:
    mount = enable(ours, "all")
    code, summary, err = mimir.from_bao("new", mount)
    assert (code, summary["failed"]) == (0, 0), err
    theirs_client, ours_client = (hvac.Client(url=server.address, token=server.token) for server in (source, ours))
    everything = names(theirs_client, "new")
    assert names(ours_client, mount) == everything
    assert summary["imported"] == summary["verified"] == len(everything) == len(ODD) + 5
    for name in everything:
        there, here = metadata(source, "new", name), metadata(ours, mount, name)
        assert {key: here[key] for key in KEPT} == {key: there[key] for key in KEPT}, name
        assert here["oldest_version"] == there["oldest_version"]
        assert here["versions"].keys() == there["versions"].keys()
        for number, version in there["versions"].items():
            assert {key: here["versions"][number][key] for key in TIMES} == {key: version[key] for key in TIMES}
            lost = version["destroyed"] or (name == "many" and number in {"5", "12"})
            assert here["versions"][number]["destroyed"] == lost
            values = [
                ask(server, "GET", f"{place}/data/{name}", query=f"?version={number}")
                for server, place in ((source, "new"), (ours, mount))
            ]
            assert values[0].get("data") == values[1].get("data")
    assert [note["path"] for note in summary["notes"]] == ["all/many"]
    assert "5, 12" in summary["notes"][0]["note"]


def test_numbers_come_as_the_source_writes_them(mimir: Mimir, source: Bao, ours: Bao) -> None:
    """OpenBao's version 2 has rounded them when they were put; its version 1 keeps the digits, and so do we."""
    mount = enable(ours, "digits")
    for mount_there, to in (("new", mount), ("old", f"{mount}/v1")):
        code, _, err = mimir.from_bao(mount_there, to, "--source-prefix", "numbers")
        assert code == 0, err
    rounded = ask(source, "GET", "new/data/numbers")["data"]
    assert "e+" in rounded["big"]
    assert ask(ours, "GET", f"{mount}/data/numbers")["data"] == rounded
    assert ask(ours, "GET", f"{mount}/data/v1/numbers")["data"] == EXACT


def test_version_1_becomes_version_1(mimir: Mimir, source: Bao, ours: Bao) -> None:
    mount = enable(ours, "flat")
    for imported, present in ((len(ODD) + 1, 0), (0, len(ODD) + 1)):
        code, summary, err = mimir.from_bao("old/", mount)
        assert code == 0, err
        assert (summary["imported"], summary["present"]) == (imported, present)
    for name in ODD:
        client = hvac.Client(url=ours.address, token=ours.token)
        read = client.secrets.kv.v2.read_secret_version(name, mount_point=mount, raise_on_deleted_version=True)
        assert read["data"]["data"] == {"name": name}
        assert read["data"]["metadata"]["version"] == 1


def test_what_came_later_is_added_and_what_was_changed_here_is_told(mimir: Mimir, source: Bao, ours: Bao) -> None:
    mount = enable(ours, "twice")
    for number in range(3):
        put(source, "new", "later/a", {"n": number})
        put(source, "new", "later/b", {"n": number})
    assert mimir.from_bao("new", mount, "--source-prefix", "later")[1]["imported"] == 2
    put(source, "new", "later/a", {"n": 3})
    put(ours, mount, "later/b", {"n": "ours"})
    put(source, "new", "later/b", {"n": "theirs"})
    code, summary, err = mimir.from_bao("new", mount, "--source-prefix", "later")
    assert (code, summary["imported"], summary["versions"], summary["failed"]) == (1, 1, 1, 1)
    assert summary["failures"][0]["path"] == "twice/later/b"
    assert "version 4 is there already and differs" in err
    assert "theirs" not in err.replace("not what", "")
    code, summary, _ = mimir.from_bao("new", mount, "--source-prefix", "later", "--on-conflict", "skip")
    assert (code, summary["present"], summary["skipped"]) == (0, 1, 1)


def test_a_dry_run_writes_nothing(mimir: Mimir, source: Bao, ours: Bao) -> None:
    mount = enable(ours, "dry")
    code, summary, _ = mimir.from_bao("new", mount, "--dry-run")
    assert code == 0
    assert {"path": "dry/many", "note": "10 versions"} in summary["found"]
    assert ask(ours, "LIST", f"{mount}/metadata") == {}


MANY = 150


@pytest.fixture(scope="module")
def crowd(source: Bao) -> str:
    source.must("secrets enable -path=crowd -version=2 kv")
    for number in range(MANY):
        put(source, "crowd", f"team-{number % 7}/s{number}", {"n": number})
    return "crowd"


def count(ours: Bao, mount: str) -> int:
    return len(ask(ours, "SCAN", f"{mount}/metadata").get("keys", []))


def wait_for_some(ours: Bao, mount: str) -> None:
    deadline = time.monotonic() + 60
    while count(ours, mount) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_in_the_middle_it_goes_on(mimir: Mimir, crowd: str, ours: Bao) -> None:
    mount = enable(ours, "killed")
    process = mimir.start(*mimir.words(crowd, mount), "--parallel", "2")
    wait_for_some(ours, mount)
    process.kill()
    process.communicate(timeout=30)
    there = count(ours, mount)
    assert 10 <= there < MANY
    code, summary, err = mimir.from_bao(crowd, mount)
    assert code == 0, err
    assert (summary["verified"], summary["failed"]) == (MANY, 0)
    assert summary["present"] >= there - 2
    assert count(ours, mount) == MANY


def test_a_source_that_goes_away_in_the_middle(mimir: Mimir, ours: Bao, program: str, tmp_path: Path) -> None:
    mount = enable(ours, "away")
    with openbao(program, tmp_path) as other:
        for number in range(60):
            put(other, "secret", f"s{number}", {"password": f"hush-{number}"})
        process = mimir.start(*mimir.words("secret", mount, other.address), "--parallel", "1", VAULT_TOKEN="root")
        wait_for_some(ours, mount)
    out, err = process.communicate(timeout=60)
    summary = json.loads(out)
    assert process.returncode == 3
    assert (summary["complete"], summary["imported"] < 60) == (False, True)
    assert "Run the same command again" in err
    assert "hush" not in out + err


def test_a_wrong_token_of_the_source(mimir: Mimir, source: Bao, ours: Bao) -> None:
    mount = enable(ours, "wrong")
    code, _, err = mimir.from_bao("new", mount, VAULT_TOKEN="s.wrong")
    assert code == 1
    assert "permission denied" in err
    assert "s.wrong" not in err
    assert count(ours, mount) == 0


def test_a_target_that_may_not_be_written(mimir: Mimir, crowd: str, ours: Bao) -> None:
    """It stops soon, and does not knock for each of them."""
    mount = enable(ours, "barred")
    ours.must("policy write reader -", stdin='path "barred/*" { capabilities = ["read", "list"] }')
    token = ours.must("token create -policy=reader").json["auth"]["client_token"]
    code, summary, err = mimir.from_bao(crowd, mount, MIMIR_TOKEN=token)
    assert code == 1
    assert summary["imported"] == 0
    assert 20 <= summary["failed"] < 40
    assert "none was taken" in err
    assert count(ours, mount) == 0


def test_no_token_goes_to_the_other_side(mimir: Mimir, source: Bao, ours: Bao) -> None:
    """VAULT_TOKEN is of the source: it does not serve as ours."""
    mount = enable(ours, "tokens")
    code, _, err = mimir.from_bao("new", mount, MIMIR_TOKEN="", VAULT_TOKEN=source.token)
    assert code == 1
    assert "No token was sent" in err


def test_an_export_comes_back_whole(mimir: Mimir, source: Bao, ours: Bao, tmp_path: Path) -> None:
    mount = enable(ours, "round")
    ours.must("secrets enable transit")
    ours.must("write -f transit/keys/backups")
    assert mimir.from_bao("new", mount)[0] == 0
    ask(ours, "POST", f"{mount}/stages/many", {"stage": "golden", "version": 9})
    put(ours, mount, "exact", NUMBERS)
    file = tmp_path / "round.sealed"
    code, summary, err = mimir.run("export", f"{mount}/", "--transit-key", "backups", "--out", str(file))
    assert code == 0, err
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"cas_required" not in file.read_bytes()
    back = enable(ours, "back")
    words = ("import", "--from-export", str(file), "--transit-key", "backups", "--to", back)
    code, summary, err = mimir.run(*words)
    assert (code, summary["failed"], summary["verified"]) == (0, 0, summary["imported"]), err
    assert mimir.run(*words)[1]["present"] == summary["imported"]
    for name in ("many", "timed", "careful", "ünï/cödé:x y"):
        first, second = metadata(ours, mount, name), metadata(ours, back, name)
        for shown in (first, second):
            for version in shown["versions"].values():
                version.pop("reason")  # it is the importer's
        assert first == second
    assert ask(ours, "GET", f"{back}/data/exact")["data"] == EXACT
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)
    fresh = enable(ours, "fresh")
    code, _, err = mimir.run(*words[:-1], fresh)
    assert code == 1
    assert "was changed" in err
    assert count(ours, fresh) == 0

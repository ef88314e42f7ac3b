"""An operator's first day: initialise, prove the escrow shares, seal, unseal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.e2e.conftest import Terminal
from tests.support.appliance import Appliance


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Waits for its initialisation."""
    server = Appliance(tmp_path_factory.mktemp("fresh") / "data", extra=("--no-init",)).start(ready=(501,))
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.fixture
def anyone(fresh: Appliance, make_terminal: Callable[[str, str], Terminal]) -> Terminal:
    return make_terminal(fresh.address, "")


_MADE: dict[str, Any] = {}


@pytest.fixture
def made(anyone: Terminal) -> dict[str, Any]:
    """What `mimir operator init` printed, once."""
    if not _MADE:
        assert anyone.mimir("status", code=2).stdout
        words = (
            "--recovery-shares",
            "3",
            "--recovery-threshold",
            "2",
            "--escrow-shares",
            "4",
            "--escrow-threshold",
            "2",
        )
        _MADE.update(json.loads(anyone.out("operator", "init", *words, "-o", "json")))
    return _MADE


@pytest.fixture
def operator(anyone: Terminal, made: dict[str, Any]) -> Terminal:
    anyone.token = made["root_token"]
    return anyone


def test_init_gives_what_was_asked_for_and_once(anyone: Terminal, made: dict[str, Any], fresh: Appliance) -> None:
    assert len(made["recovery_keys"]) == 3
    assert len(made["escrow_shares"]) == 4
    assert "already" in anyone.refusal("operator", "init")
    assert made["root_token"] not in fresh.log
    assert not any(share in fresh.log for share in made["escrow_shares"])


def test_a_threshold_above_the_shares_is_wrong_usage(anyone: Terminal) -> None:
    anyone.refusal("operator", "init", "--recovery-shares", "2", "--recovery-threshold", "3", code=2)


def test_a_quorum_of_words_is_proven(operator: Terminal, made: dict[str, Any], fresh: Appliance) -> None:
    words = "\n".join(made["escrow_shares"][1:3])
    done = operator.mimir("operator", "escrow", "verify", given=words + "\n")
    assert not any(share in done.stdout + done.stderr for share in made["escrow_shares"])
    assert not any(share in fresh.log for share in made["escrow_shares"])


def test_every_pair_of_shares_is_a_quorum(operator: Terminal, made: dict[str, Any]) -> None:
    first, _, third, fourth = made["escrow_shares"]
    for pair in ((first, third), (fourth, first)):
        operator.mimir("operator", "escrow", "verify", given="\n".join(pair) + "\n")


def test_too_few_shares_are_told(operator: Terminal, made: dict[str, Any]) -> None:
    said = operator.refusal("operator", "escrow", "verify", given=made["escrow_shares"][0] + "\n")
    assert "2" in said


def test_a_word_that_is_not_in_the_list_is_told_by_its_place(operator: Terminal, made: dict[str, Any]) -> None:
    words = made["escrow_shares"][0].split()
    words[4] = "mimirs"
    given = " ".join(words) + "\n" + made["escrow_shares"][1] + "\n"
    said = operator.refusal("operator", "escrow", "verify", given=given)
    assert "word 5" in said
    assert "mimirs" not in said


def test_words_in_the_wrong_order_fail_the_checksum(operator: Terminal, made: dict[str, Any]) -> None:
    words = made["escrow_shares"][0].split()
    place = next(i for i in range(5, len(words) - 1) if words[i] != words[i + 1])
    words[place], words[place + 1] = words[place + 1], words[place]
    given = " ".join(words) + "\n" + made["escrow_shares"][1] + "\n"
    assert "checksum" in operator.refusal("operator", "escrow", "verify", given=given)


def test_the_same_share_twice_is_no_quorum(operator: Terminal, made: dict[str, Any]) -> None:
    said = operator.refusal("operator", "escrow", "verify", given=(made["escrow_shares"][0] + "\n") * 2)
    assert "twice" in said or "same" in said


def test_seal_then_a_quorum_unseals(operator: Terminal, made: dict[str, Any]) -> None:
    operator.mimir("operator", "seal")
    operator.mimir("status", code=2)
    assert "sealed" in operator.refusal("transit", "key", "list", code=4).lower()
    operator.refusal("operator", "unseal", "zz")
    one = json.loads(operator.out("operator", "unseal", "-", "-o", "json", given=made["recovery_keys"][0] + "\n"))
    assert (one["sealed"], one["progress"]) == (True, 1)
    none = json.loads(operator.out("operator", "unseal", "--reset", "-o", "json"))
    assert none["progress"] == 0
    for key in made["recovery_keys_base64"][1:]:  # hex or base64
        operator.mimir("operator", "unseal", key)
    operator.mimir("status")
    operator.mimir("hsm", "status")

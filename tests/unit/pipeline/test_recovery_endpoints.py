"""generate-root, rekey and rotate: who may call what, and the answers field by field."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.router import RouteTable
from appliance.system.generate_root import TOKEN_LENGTH, GenerateRootRoutes, encode_token, new_otp
from appliance.system.rekey import RekeyRoutes
from barrier.ceremonies import RecoveryRotation, RootGeneration, RootKeyRotation
from barrier.changes import ChangeRing
from barrier.initialize import InitRequest
from barrier.schema import upgrade_async
from barrier.seal import Barrier
from core.bodies import parse_body
from core.engine import NoBody, Route
from core.errors import InvalidRequestError, SealedError, UnsupportedPathError
from core.ids import new_uuid
from core.protocols import CoreTransaction
from core.requests import Operation, Request
from tests.support.clock import SettableClock
from tests.unit.barrier.software_hsm import SoftwareHsm

TOKEN = "hvs." + "r" * 24
OPEN = [
    "generate-root/attempt",
    "generate-root/update",
    "rekey/init",
    "rekey/update",
    "rekey/verify",
    "rekey-recovery-key/init",
    "rekey-recovery-key/update",
    "rekey-recovery-key/verify",
]
TRUSTED = [
    "generate-root-token/attempt",
    "generate-root-token/update",
    "rotate/root",
    "rotate/root/init",
    "rotate/root/update",
    "rotate/root/verify",
    "rotate/root/backup",
    "rotate/recovery/init",
    "rotate/recovery/update",
    "rotate/recovery/verify",
    "rotate/recovery/backup",
    "rekey/backup",
    "rekey/recovery-key-backup",
]
ATTEMPTS = [("generate-root/attempt", {}), ("rekey/init", {}), ("rekey-recovery-key/init", None)]
SUDO = {"X-Vault-Token": "of somebody whose policy allows it"}
NEW_KEYS = {"secret_shares": 2, "secret_threshold": 2}


@dataclass
class Endpoints:
    """The handlers on a real barrier, called as the pipeline calls them."""

    barrier: Barrier
    table: RouteTable
    shares: list[str]
    made: list[str]

    async def call(self, operation: Operation, path: str, body: dict[str, Any] | None = None, **more: Any) -> Any:
        found = self.table.find(path)
        assert found is not None, path
        route, params = found
        method = route.methods[operation]
        data = body or {}
        request = Request(
            request_id=new_uuid(), operation=operation, mount_path="sys/", path=path, params=params, data=data, **more
        )
        response = await method.handler(request, NoBody() if method.body is NoBody else parse_body(data, method.body))
        if response.raw is not None:
            return json.loads(response.raw.body)
        return response.data

    async def read(self, path: str) -> Any:
        return await self.call(Operation.READ, path)

    async def put(self, path: str, **body: Any) -> Any:
        return await self.call(Operation.UPDATE, path, body)

    async def delete(self, path: str, **body: Any) -> Any:
        return await self.call(Operation.DELETE, path, body)

    async def quorum(self, path: str, nonce: str, shares: list[str] | None = None) -> Any:
        for share in shares or self.shares[:2]:
            last = await self.put(path, key=share, nonce=nonce)
        return last


@pytest.fixture
async def sys(tmp_path: Path):
    """Unsealed, with recovery keys 2 of 3."""
    async for endpoints in serve(tmp_path, InitRequest(recovery_shares=3, recovery_threshold=2, escrow_declined=True)):
        yield endpoints


@pytest.fixture
async def keyless(tmp_path: Path):
    """Unsealed, without recovery keys."""
    async for endpoints in serve(tmp_path, InitRequest(escrow_declined=True)):
        yield endpoints


async def serve(directory: Path, request: InitRequest):
    url = f"sqlite:///{directory}/store.db"
    await upgrade_async(url)
    ChangeRing.create(directory / "ring").close()
    ring, clock = ChangeRing.open(directory / "ring"), SettableClock()
    barrier = await Barrier.open(url, ring, SoftwareHsm(), clock=clock)
    made: list[str] = []

    async def make_root_token() -> str:
        made.append(TOKEN)
        return TOKEN

    async def nothing(_transaction: CoreTransaction) -> None:
        pass

    async def vouch(asked: Request) -> bool:
        return asked.headers == SUDO

    result = await barrier.initialize(request, nothing)
    routes: list[Route] = [
        *GenerateRootRoutes(RootGeneration(barrier, clock), make_root_token, vouch).routes(),
        *RekeyRoutes(RootKeyRotation(barrier, clock), RecoveryRotation(barrier, clock), vouch).routes(),
    ]
    yield Endpoints(barrier, RouteTable(routes), [share.hex() for share in result.recovery_shares], made)
    await barrier.close()
    ring.close()


def decoded(encoded: str, otp: str) -> str:
    raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(a ^ b for a, b in zip(raw, otp.encode(), strict=True)).decode()


# --- who may call what --------------------------------------------------------------------------------------------


async def test_the_older_endpoints_ask_for_no_token_and_the_newer_for_sudo(sys: Endpoints) -> None:
    assert {route.pattern for route in sys.table if route.unauthenticated} == set(OPEN)
    assert {route.pattern for route in sys.table if route.sudo} == set(TRUSTED)


@pytest.mark.parametrize(("path", "body"), ATTEMPTS)
@pytest.mark.parametrize("nonce", [{}, {"nonce": ""}, {"nonce": "guess"}], ids=["none", "empty", "wrong"])
async def test_strangers_cannot_cancel(
    sys: Endpoints, path: str, body: dict[str, Any] | None, nonce: dict[str, str]
) -> None:
    await sys.put(path, **(NEW_KEYS if body is None else body))
    with pytest.raises(InvalidRequestError, match="nonce"):
        await sys.delete(path, **nonce)
    assert (await sys.read(path))["started"] is True


@pytest.mark.parametrize(("path", "body"), ATTEMPTS)
async def test_strangers_are_not_told_the_nonce(sys: Endpoints, path: str, body: dict[str, Any] | None) -> None:
    nonce = (await sys.put(path, **(NEW_KEYS if body is None else body)))["nonce"]
    status = await sys.read(path)
    assert (status["started"], status["nonce"], len(nonce)) == (True, "", 36)
    update = path.rsplit("/", 1)[0] + "/update"
    with pytest.raises(InvalidRequestError) as caught:
        await sys.put(update, key=sys.shares[0], nonce="guess")
    assert nonce not in caught.value.sentence


@pytest.mark.parametrize(("path", "body"), ATTEMPTS)
async def test_who_began_can_cancel(sys: Endpoints, path: str, body: dict[str, Any] | None) -> None:
    nonce = (await sys.put(path, **(NEW_KEYS if body is None else body)))["nonce"]
    assert await sys.delete(path, nonce=nonce) is None
    assert (await sys.read(path))["started"] is False


@pytest.mark.parametrize(("path", "body"), ATTEMPTS)
async def test_whose_token_allows_it_sees_the_nonce_and_can_cancel_without(
    sys: Endpoints, path: str, body: dict[str, Any] | None
) -> None:
    """Neither hvac nor the commands send a nonce to cancel, and those ask the status for it."""
    nonce = (await sys.put(path, **(NEW_KEYS if body is None else body)))["nonce"]
    assert (await sys.call(Operation.READ, path, headers=SUDO))["nonce"] == nonce
    with pytest.raises(InvalidRequestError, match="nonce"):
        await sys.call(Operation.DELETE, path, {"nonce": "wrong"}, headers=SUDO)
    await sys.call(Operation.DELETE, path, headers=SUDO)
    assert (await sys.read(path))["started"] is False


@pytest.mark.parametrize("path", ["generate-root-token/attempt", "rotate/root/init", "rotate/recovery/init"])
async def test_whom_a_policy_allows_it_needs_no_nonce_and_is_told_it(sys: Endpoints, path: str) -> None:
    nonce = (await sys.put(path, **({} if "root" in path else NEW_KEYS)))["nonce"]
    assert (await sys.read(path))["nonce"] == nonce
    with pytest.raises(InvalidRequestError, match="nonce"):
        await sys.delete(path, nonce="that of an attempt before")
    assert await sys.delete(path) is None
    assert (await sys.read(path))["started"] is False


@pytest.mark.parametrize("path", [*OPEN, *TRUSTED])
async def test_other_namespaces_have_no_recovery_keys(sys: Endpoints, path: str) -> None:
    found = sys.table.find(path)
    assert found is not None
    for operation in found[0].methods:
        with pytest.raises(UnsupportedPathError):
            await sys.call(operation, path, {}, namespace="team-a/")


@pytest.mark.parametrize("path", [path for path in [*OPEN, *TRUSTED] if not path.endswith("backup")])
async def test_nothing_is_served_while_sealed(sys: Endpoints, path: str) -> None:
    await sys.barrier.seal()
    found = sys.table.find(path)
    assert found is not None
    body = {"key": sys.shares[0], "nonce": "x", **NEW_KEYS}
    for operation in found[0].methods:
        with pytest.raises((SealedError, InvalidRequestError)) as caught:
            await sys.call(operation, path, body)
        assert path in {"rekey/verify", "rotate/root/verify"} or caught.type is SealedError


# --- root tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{"otp": "short"}, {"otp": "é" * TOKEN_LENGTH}, {"otp": "x" * 29}, {"pgp_key": "mQENBF"}]
)
async def test_a_pad_that_cannot_be_is_refused(sys: Endpoints, body: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError):
        await sys.put("generate-root/attempt", **body)
    assert (await sys.read("generate-root/attempt"))["started"] is False


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": "zz"}, {"key": "00" * 32}, {"key": None}])
async def test_what_is_no_recovery_key_is_refused(sys: Endpoints, body: dict[str, Any]) -> None:
    nonce = (await sys.put("generate-root/attempt"))["nonce"]
    with pytest.raises(InvalidRequestError, match="key"):
        await sys.put("generate-root/update", nonce=nonce, **body)


async def test_wrong_recovery_keys_make_no_token(sys: Endpoints) -> None:
    nonce = (await sys.put("generate-root/attempt"))["nonce"]
    with pytest.raises(InvalidRequestError, match="reset"):
        await sys.quorum("generate-root/update", nonce, [sys.shares[0], "ff" * 32 + "02"])
    assert sys.made == []
    assert (await sys.read("generate-root/attempt"))["progress"] == 0


@pytest.mark.parametrize("folder", ["generate-root", "generate-root-token"])
async def test_a_quorum_gets_a_root_token_under_the_pad(sys: Endpoints, folder: str) -> None:
    started = await sys.put(f"{folder}/attempt")
    assert started == {
        "nonce": started["nonce"],
        "started": True,
        "progress": 0,
        "required": 2,
        "complete": False,
        "encoded_token": "",
        "encoded_root_token": "",
        "pgp_fingerprint": "",
        "otp": started["otp"],
        "otp_length": 28,
    }
    assert (await sys.read(f"{folder}/attempt"))["otp"] == ""
    first = await sys.put(f"{folder}/update", key=sys.shares[2], nonce=started["nonce"])
    assert (first["progress"], first["complete"], first["nonce"]) == (1, False, started["nonce"])
    last = await sys.put(f"{folder}/update", key=sys.shares[0], nonce=started["nonce"])
    assert (last["progress"], last["complete"], last["started"]) == (2, True, True)
    assert last["encoded_token"] == last["encoded_root_token"]
    assert decoded(last["encoded_token"], started["otp"]) == TOKEN
    assert sys.made == [TOKEN]
    assert (await sys.read(f"{folder}/attempt"))["started"] is False


async def test_a_pad_of_the_callers_own_is_not_repeated(sys: Endpoints) -> None:
    otp = new_otp()
    started = await sys.put("generate-root/attempt", otp=otp)
    assert started["otp"] == ""
    last = await sys.quorum("generate-root/update", started["nonce"])
    assert decoded(last["encoded_token"], otp) == TOKEN


def test_pads_differ_and_are_as_long_as_tokens() -> None:
    pads = {new_otp() for _ in range(100)}
    assert len(pads) == 100
    assert {len(pad) for pad in pads} == {TOKEN_LENGTH}


def test_a_token_of_another_length_is_our_mistake() -> None:
    with pytest.raises(RuntimeError):
        encode_token("hvs.short", new_otp())


def test_encoding_has_no_padding() -> None:
    assert encode_token(TOKEN, TOKEN) == "A" * 38


# --- rekeying -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"secret_shares": 2},
        {"secret_shares": 2, "secret_threshold": 3},
        {"secret_shares": 3, "secret_threshold": 1},
        NEW_KEYS | {"pgp_keys": ["mQENBF"]},
        NEW_KEYS | {"backup": True},
        NEW_KEYS | {"stored_shares": 1},
        NEW_KEYS | {"secret_shares": "many"},
    ],
)
async def test_new_recovery_keys_that_cannot_be_are_refused(sys: Endpoints, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await sys.put("rekey-recovery-key/init", **body)
    assert (await sys.read("rekey-recovery-key/init"))["started"] is False


@pytest.mark.parametrize("body", [{"pgp_keys": ["x"]}, {"backup": True}, {"require_verification": True}])
async def test_a_root_key_that_stays_in_the_hsm_has_no_such_options(sys: Endpoints, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="not supported"):
        await sys.put("rekey/init", **body)


@pytest.mark.parametrize("path", ["rekey/backup", "rekey/recovery-key-backup", "rotate/recovery/backup"])
async def test_there_are_no_backups(sys: Endpoints, path: str) -> None:
    with pytest.raises(InvalidRequestError, match="no backed-up keys found"):
        await sys.read(path)
    assert await sys.delete(path) is None


@pytest.mark.parametrize("folder", ["rekey-recovery-key", "rotate/recovery"])
async def test_recovery_keys_are_handed_out_anew(sys: Endpoints, folder: str) -> None:
    started = await sys.put(f"{folder}/init", **NEW_KEYS)
    assert (started["t"], started["n"], started["required"], started["progress"]) == (2, 2, 2, 0)
    assert (started["verification_required"], started["backup"], started["pgp_fingerprints"]) == (False, False, None)
    done = await sys.quorum(f"{folder}/update", started["nonce"])
    assert (done["complete"], done["nonce"], done["verification_required"]) == (True, started["nonce"], False)
    assert [base64.b64decode(key).hex() for key in done["keys_base64"]] == done["keys"]
    nonce = (await sys.put("generate-root/attempt"))["nonce"]
    with pytest.raises(InvalidRequestError):
        await sys.quorum("generate-root/update", nonce)
    assert (await sys.quorum("generate-root/update", nonce, done["keys"]))["complete"] is True


@pytest.mark.parametrize("folder", ["rekey-recovery-key", "rotate/recovery"])
async def test_new_recovery_keys_are_given_back_for_verification(sys: Endpoints, folder: str) -> None:
    started = await sys.put(f"{folder}/init", **NEW_KEYS, require_verification=True)
    with pytest.raises(InvalidRequestError, match="waits for verification"):
        await sys.put(f"{folder}/verify", key=sys.shares[0], nonce=started["nonce"])
    new = await sys.quorum(f"{folder}/update", started["nonce"])
    assert new["verification_required"] is True
    nonce = new["verification_nonce"]
    status = await sys.put(f"{folder}/verify", key=new["keys"][0], nonce=nonce)
    assert status == {"nonce": nonce, "started": True, "t": 2, "n": 2, "progress": 1}
    shown = (await sys.read(f"{folder}/verify"))["nonce"]
    assert shown == ("" if folder == "rekey-recovery-key" else nonce)
    again = await sys.delete(f"{folder}/verify", nonce=nonce)
    assert (again["progress"], again["nonce"] != nonce) == (0, True)
    done = await sys.quorum(f"{folder}/verify", again["nonce"], new["keys"])
    assert done == {"nonce": again["nonce"], "complete": True}


async def test_strangers_cannot_restart_a_verification(sys: Endpoints) -> None:
    started = await sys.put("rekey-recovery-key/init", **NEW_KEYS, require_verification=True)
    await sys.quorum("rekey-recovery-key/update", started["nonce"])
    with pytest.raises(InvalidRequestError, match="nonce"):
        await sys.delete("rekey-recovery-key/verify")


@pytest.mark.parametrize("folder", ["rekey", "rotate/root"])
async def test_nobody_gets_a_share_of_the_root_key(sys: Endpoints, folder: str) -> None:
    started = await sys.put(f"{folder}/init", secret_shares=5, secret_threshold=3)
    assert (started["t"], started["n"], started["required"]) == (1, 1, 2)
    done = await sys.quorum(f"{folder}/update", started["nonce"])
    assert (done["complete"], done["keys"], done["keys_base64"]) == (True, [], [])
    with pytest.raises(InvalidRequestError, match="never verified"):
        await sys.read(f"{folder}/verify")


async def test_a_policy_rotates_the_root_key_at_once(sys: Endpoints) -> None:
    assert await sys.put("rotate/root") is None
    await sys.barrier.refresh()
    assert await sys.barrier.key_status()


async def test_a_cluster_without_recovery_keys_gets_its_first_from_a_policy_alone(keyless: Endpoints) -> None:
    with pytest.raises(InvalidRequestError, match="no recovery keys"):
        await keyless.put("rekey-recovery-key/init", **NEW_KEYS)
    made = await keyless.put("rotate/recovery/init", **NEW_KEYS)
    assert (made["complete"], made["t"], made["n"], len(made["keys"])) == (True, 2, 2, 2)
    nonce = (await keyless.put("generate-root/attempt"))["nonce"]
    assert (await keyless.quorum("generate-root/update", nonce, made["keys"]))["complete"] is True


def test_attempts_do_not_show_their_secrets() -> None:
    from barrier.ceremony import Attempt

    attempt = Attempt(nonce="n", touched_at=0, shares=[b"secret share"], otp="secret pad")
    assert "secret" not in repr(attempt)
    assert msgspec.json.decode(msgspec.json.encode(attempt), type=Attempt) == attempt

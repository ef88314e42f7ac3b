"""`sys/seal-status`, `sys/unseal`, `sys/seal` and `sys/leader`."""

import base64
import binascii
from typing import Any

import msgspec

from appliance.pipeline.exchange import LastResponse
from appliance.pipeline.lifecycle import Lifecycle
from appliance.system.node import SEAL_TYPE, NodeInfo
from appliance.system.raw import raw_json
from barrier.seal import Barrier, SealState
from core.clock import rfc3339
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from core.secret import Secret

# One byte for the share's number behind the 32 of the key, as Vault's Shamir shares have it.
SHARE_BYTES = 33


class UnsealBody(msgspec.Struct):
    """A recovery share, or the wish to begin again."""

    key: str = ""
    reset: bool = False
    migrate: bool = False


class SealRoutes:
    """The seal as operators see it."""

    def __init__(self, barrier: Barrier, lifecycle: Lifecycle, node: NodeInfo) -> None:
        self._barrier = barrier
        self._lifecycle = lifecycle
        self._node = node

    def open_routes(self) -> list[Route]:
        """Served in every seal state."""
        status = Method(handler=self.status, mutates=False, summary="The state of the seal.")
        unseal = Method(handler=self.unseal, body=UnsealBody, summary="Give one recovery share.")
        leader = Method(handler=self.leader, mutates=False, summary="Which node is active.")
        return [
            _open("sys/seal-status", Operation.READ, status),
            _open("sys/unseal", Operation.UPDATE, unseal),
            _open("sys/leader", Operation.READ, leader),
        ]

    def routes(self) -> list[Route]:
        """Below sys/."""
        seal = Method(handler=self.seal, summary="Drop every key from memory, on every process of the node.")
        return [Route(pattern="seal", methods={Operation.UPDATE: seal}, help="Seal the appliance.", sudo=True)]

    async def status(self, _request: Request, _body: object) -> Response:
        """Vault's seal-status."""
        await self._lifecycle.settle()
        return raw_json(await self._status())

    async def unseal(self, _request: Request, body: UnsealBody) -> Response:
        """Take one share, or forget those given so far; answers the seal-status."""
        await self._lifecycle.settle()
        if body.migrate:
            raise InvalidRequestError("there is no seal migration to take part in; leave migrate out")
        if body.reset:
            await self._reset()
        elif not body.key:
            raise InvalidRequestError("'key' must be specified in request body as JSON, or 'reset' set to true")
        else:
            await self._barrier.unseal_share(parse_share(body.key))
            await self._lifecycle.settle()
        return raw_json(await self._status())

    async def _reset(self) -> None:
        if self._barrier.state is SealState.UNSEALED:
            raise InvalidRequestError("vault is unsealed")
        await self._barrier.reset_unseal()

    async def seal(self, _request: Request, _body: object) -> Response:
        """Seal once the answer is on record: afterwards no device could be told."""
        return LastResponse(afterwards=self._seal)

    async def _seal(self) -> None:
        try:
            await self._lifecycle.close()
        finally:
            await self._barrier.seal()  # whatever an engine does at its end, the keys go

    async def leader(self, _request: Request, _body: object) -> Response:
        """This node, and no other."""
        return raw_json(
            {
                "ha_enabled": False,
                "is_self": True,
                "active_time": rfc3339(self._node.started_at),
                "leader_address": self._node.api_address,
                "leader_cluster_address": "",
                "performance_standby": False,
                "performance_standby_last_remote_wal": 0,
            }
        )

    async def _status(self) -> dict[str, Any]:
        status = await self._barrier.status()
        named = {} if status.sealed else {"cluster_name": status.cluster_name, "cluster_id": status.cluster_id}
        return {
            "type": SEAL_TYPE,
            "initialized": status.initialized,
            "sealed": status.sealed,
            "t": status.t,
            "n": status.n,
            "progress": status.progress,
            "nonce": status.nonce,
            "version": self._node.version,
            "build_date": self._node.build_date,
            "migration": False,
            **named,
            "recovery_seal": True,
            "recovery_seal_type": "shamir",
            "storage_type": self._node.storage_type,
        }


def _open(path: str, operation: Operation, method: Method) -> Route:
    return Route(pattern=path, methods={operation: method}, help=method.summary, unauthenticated=True)


def parse_share(text: str) -> Secret:
    """A share from hexadecimal or standard base64. Raises InvalidRequestError."""
    for decode in (bytes.fromhex, _from_base64):
        try:
            share = decode(text)
        except ValueError:  # of which binascii.Error is one
            continue
        if len(share) == SHARE_BYTES:
            return Secret(share)
    raise InvalidRequestError(f"'key' must be a recovery key of {SHARE_BYTES} bytes as a valid hex or base64 string")


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError("not base64") from exc

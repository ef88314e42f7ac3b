"""`sys/init`: making the cluster, once."""

import base64
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from appliance.pipeline.lifecycle import Lifecycle
from appliance.system.node import SEAL_TYPE
from appliance.system.raw import raw_json
from barrier.initialize import InitRequest, InitResult
from barrier.seal import Barrier, SealState
from core.engine import Method, Route
from core.errors import InvalidRequestError, MimirError
from core.protocols import CoreTransaction
from core.requests import Operation, Request, Response

# What `bao operator init` sends when its user says nothing.
DEFAULT_SHARES = 5

Bootstrap = Callable[[CoreTransaction], Awaitable[str]]


class InitBody(msgspec.Struct):
    """Vault's fields, and Mimir's two for the escrow. An explicit 0 declines; what is absent gets the default."""

    secret_shares: int = 0
    secret_threshold: int = 0
    stored_shares: int = 0
    pgp_keys: list[str] | None = None
    root_token_pgp_key: str = ""
    recovery_shares: int | None = None
    recovery_threshold: int | None = None
    recovery_pgp_keys: list[str] | None = None
    escrow_shares: int | None = None
    escrow_threshold: int | None = None


class InitRoutes:
    """Reads and makes the cluster."""

    def __init__(self, barrier: Barrier, lifecycle: Lifecycle, bootstrap: Bootstrap) -> None:
        """`bootstrap` makes the first entries (tokens, policies, mounts) and answers the root token."""
        self._barrier = barrier
        self._lifecycle = lifecycle
        self._bootstrap = bootstrap

    def routes(self) -> list[Route]:
        """Served in every seal state."""
        initialize = Method(handler=self.initialize, body=InitBody, summary="Initialise the appliance.")
        return [
            Route(
                pattern="sys/init",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="Whether it is initialised."),
                    Operation.UPDATE: initialize,
                },
                help="Initialise the appliance: keys, recovery shares, escrow shares and the root token.",
                unauthenticated=True,
            )
        ]

    async def read(self, _request: Request, _body: object) -> Response:
        """Whether there is a cluster."""
        await self._lifecycle.settle()
        return raw_json({"initialized": self._barrier.state is not SealState.NOT_INITIALIZED})

    async def initialize(self, _request: Request, body: InitBody) -> Response:
        """Make the cluster; unsealed on return."""
        wanted = init_request(body)
        root_token = ""

        async def first_writes(txn: CoreTransaction) -> None:
            nonlocal root_token
            root_token = await self._bootstrap(txn)

        result = await self._barrier.initialize(wanted, first_writes)
        # what stands in the answer exists nowhere else: no trouble of what opens next may withhold it
        with contextlib.suppress(MimirError):
            await self._lifecycle.settle()
        return raw_json(_shown_once(result, root_token))


def init_request(body: InitBody) -> InitRequest:
    """What the barrier is asked for. Raises InvalidRequestError."""
    _check_applicable(body)
    recovery_shares, recovery_threshold = _counts(body.recovery_shares, body.recovery_threshold, what="recovery")
    escrow_shares, escrow_threshold = _counts(body.escrow_shares, body.escrow_threshold, what="escrow")
    return InitRequest(
        recovery_shares=recovery_shares,
        recovery_threshold=recovery_threshold,
        escrow_shares=escrow_shares or None,
        escrow_threshold=escrow_threshold or None,
        escrow_declined=escrow_shares == 0,
    )


def _check_applicable(body: InitBody) -> None:
    barrier_fields = {
        "secret_shares": body.secret_shares,
        "secret_threshold": body.secret_threshold,
        "pgp_keys": body.pgp_keys,
    }
    if given := [name for name, value in barrier_fields.items() if value]:
        raise InvalidRequestError(f"parameters {','.join(given)} not applicable to seal type {SEAL_TYPE}")
    if body.recovery_pgp_keys or body.root_token_pgp_key:
        raise InvalidRequestError("PGP keys are not supported; leave recovery_pgp_keys and root_token_pgp_key out")


def _counts(shares: int | None, threshold: int | None, *, what: str) -> tuple[int, int]:
    """Shares and threshold, filled up: 3 of 5 when both are absent, a majority when only the threshold is."""
    if shares is None:
        if threshold:
            raise InvalidRequestError(f"{what}_threshold needs {what}_shares beside it")
        shares = 0 if threshold == 0 else DEFAULT_SHARES
    if shares == 0 and threshold:
        raise InvalidRequestError(f"{what}_threshold must be 0 when {what}_shares is 0")
    return shares, shares // 2 + 1 if threshold is None and shares else threshold or 0


def _shown_once(result: InitResult, root_token: str) -> dict[str, Any]:
    return {
        "keys": [],
        "keys_base64": [],
        "recovery_keys": [share.hex() for share in result.recovery_shares],
        "recovery_keys_base64": [base64.b64encode(share).decode() for share in result.recovery_shares],
        "root_token": root_token,
        "escrow_shares": result.escrow_words,
        "escrow_threshold": result.escrow_threshold,
    }

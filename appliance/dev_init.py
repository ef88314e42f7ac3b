"""Initialising by itself: for development servers, which write what init shows once into a file (0600).

They begin with secrets mounted at secret/, as Vault's development servers do.
"""

import base64
import os
from pathlib import Path

import msgspec

from appliance.mount_table import MountEntry
from appliance.mounts import new_mount, write_new_mount
from appliance.system.init import Bootstrap
from barrier.initialize import InitRequest, InitResult
from barrier.seal import Barrier, SealState
from core.clock import SystemClock
from core.errors import ConfigError, InvalidRequestError
from core.protocols import CoreTransaction

SHARES, THRESHOLD = 5, 3  # as `bao operator init`
SECRETS = MountEntry(
    uuid="",
    accessor="",
    type="kv",
    path="secret/",
    description="key/value secret storage",
    options={"version": "2"},
)


async def initialize_for_development(barrier: Barrier, bootstrap: Bootstrap, init_file: Path) -> None:
    """Make the cluster and write `init_file`, unless another worker is doing so.

    The file is on disk before the cluster is committed: a root token that nobody knows cannot exist.
    """
    root_token = ""

    async def first_writes(txn: CoreTransaction) -> None:
        nonlocal root_token
        root_token = await bootstrap(txn)
        await write_new_mount(txn, new_mount(SECRETS, SystemClock()))

    def before_commit(result: InitResult) -> None:
        write_init_file(init_file, result, root_token)

    request = InitRequest(recovery_shares=SHARES, recovery_threshold=THRESHOLD)
    try:
        await barrier.initialize(request, first_writes, before_commit=before_commit)
    except InvalidRequestError:
        await barrier.refresh()
        if barrier.state is SealState.NOT_INITIALIZED:
            raise


def sync_directory(directory: Path) -> None:
    """A new name in it outlives a loss of power from now on."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_init_file(path: Path, result: InitResult, root_token: str) -> None:
    """Atomically, readable by the owner alone. Raises ConfigError."""
    content = {
        "root_token": root_token,
        "recovery_keys": [share.hex() for share in result.recovery_shares],
        "recovery_keys_base64": [base64.b64encode(share).decode() for share in result.recovery_shares],
        "recovery_threshold": result.recovery_threshold,
        "escrow_shares": result.escrow_words,
        "escrow_threshold": result.escrow_threshold,
        "cluster_id": result.cluster_id,
    }
    partial = path.with_name(path.name + ".new")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.parent)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}") from exc

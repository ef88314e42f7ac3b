"""A static role: an account that exists on the database and whose password is changed on schedule."""

from enum import Enum

import msgspec

from dynamic.target import Statements

MIN_PERIOD = 5  # seconds; Vault's


class Phase(Enum):
    """How far a rotation has come. Each step is stored before the next is taken, so any process can go on."""

    IDLE = "idle"
    GENERATED = "generated"  # the new password is stored here, and the database may or may not have it
    SET = "set"  # the database has taken it; a login with it is still to be tried


class StaticCredential(msgspec.Struct, frozen=True, kw_only=True):
    """An account with the password that opens it."""

    username: str
    password: str
    since: int = 0  # epoch seconds

    def __repr__(self) -> str:
        return f"StaticCredential({self.username})"


class StaticRole(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`static/<name>`. `current` is what `static-creds` answers, `pending` what a rotation is about to put there."""

    name: str
    db_name: str
    username: str
    alternate_username: str = ""  # of a second account: each rotation then changes the one that is not current
    rotation_statements: Statements = ()
    rotation_period: int = 0  # seconds; 0: by rotation_schedule
    rotation_schedule: str = ""  # five fields of cron, UTC
    rotation_window: int = 0  # seconds after a scheduled time in which a rotation may begin; 0: any time
    password_policy: str = ""
    kv_path: str = ""  # "secret/apps/orders": where each new password is left as a version of a secret, too
    kv_written: int = 0  # the number of the password that was left there last
    current: StaticCredential | None = None
    pending: StaticCredential | None = None
    phase: Phase = Phase.IDLE
    rotated_at: int = 0  # epoch seconds
    number: int = 0  # of the current password: how many there were
    next_rotation: int = 0  # epoch seconds; 0: as soon as possible
    retry_at: int = 0  # epoch seconds: after a failure; 0: there was none
    attempts: int = 0  # that failed since the last rotation
    error: str = ""  # why the last one failed
    is_away: bool = False  # it failed because the database was away: tried again as soon as that is back
    owner: str = ""  # the rotation under way, until claimed_until
    claimed_until: int = 0
    format: int = 1

    def __repr__(self) -> str:
        return f"StaticRole({self.name})"

    @property
    def owes_deposit(self) -> bool:
        """Whether the secret at kv_path does not hold the current password yet."""
        return bool(self.kv_path) and self.current is not None and self.kv_written != self.number

    @property
    def next_username(self) -> str:
        """Whose password the next rotation changes: with two accounts, of the one that is not current."""
        if self.alternate_username and self.current is not None and self.current.username == self.username:
            return self.alternate_username
        return self.username


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StaticRole).decode


def encode_static_role(role: StaticRole) -> bytes:
    """As it is stored."""
    return _encode(role)


def decode_static_role(value: bytes) -> StaticRole:
    """As it was stored."""
    return _decode(value)

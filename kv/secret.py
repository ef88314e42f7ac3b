"""A secret's row and its rules: versions, labels, states, compare-and-set. No I/O.

A version is *enabled*, *disabled* or *destroyed* (the states of GCP Secret Manager). Vault's soft deletion disables,
too, and has a time, which may be in the future. A *label* names one version (the staging labels of AWS Secrets
Manager): `current` is what a read without a version gives, `previous` what was current before, `pending` what is to
become it.
"""

from collections.abc import Callable, Iterable
from enum import Enum

import msgspec
from msgspec.structs import replace

from core.errors import InvalidRequestError, NotFoundError
from kv.times import LATEST, SECOND

CURRENT, PREVIOUS, PENDING = "current", "previous", "pending"
DEFAULT_MAX_VERSIONS = 10  # Vault's
MAX_LABELS = 20  # of one secret; AWS's


class State(Enum):
    """What may be done with a version's value."""

    ENABLED = "enabled"
    DISABLED = "disabled"  # not read until it is enabled again; Vault's deletion is this, with a time
    DESTROYED = "destroyed"  # the value is gone


class Author(msgspec.Struct, frozen=True, array_like=True):
    """Who made a version: names, never the token."""

    name: str = ""  # the display name: "approle-web"
    entity_id: str = ""
    address: str = ""
    reason: str = ""  # what the caller gave as reason


NOBODY = Author()


class Version(msgspec.Struct, frozen=True, array_like=True):
    """One version without its value. Times in nanoseconds since the epoch."""

    created_at: int
    deleted_at: int = 0  # 0: not deleted; may be in the future
    destroyed: bool = False
    disabled: bool = False
    author: Author = NOBODY

    def state(self, now: int) -> State:
        """At the moment `now` (nanoseconds)."""
        if self.destroyed:
            return State.DESTROYED
        if self.disabled or (self.deleted_at and self.deleted_at <= now):
            return State.DISABLED
        return State.ENABLED


class Secret(msgspec.Struct, frozen=True, array_like=True):
    """A secret. `values` are those that are small enough to stand here, by version."""

    format: int
    secret_id: str  # names its other values; a secret that is made again under the same name has another one
    created_at: int
    updated_at: int
    latest: int = 0  # the highest number that a version has had
    versions: dict[int, Version] = {}
    labels: dict[str, int] = {}
    max_versions: int = 0  # 0: what holds for the mount
    cas_required: bool = False
    delete_version_after: int = 0  # seconds; 0: what holds for the mount
    custom_metadata: dict[str, str] | None = None
    owner: str = ""
    classification: str = ""
    rotate_every: int = 0  # seconds
    expires_at: int = 0  # nanoseconds
    metadata_version: int = 0  # one more at every write of the metadata
    metadata_cas_required: bool = False
    values: dict[int, bytes] = {}

    def has_value(self, number: int) -> bool:
        """Whether there is such a version, and its value was not destroyed."""
        row = self.versions.get(number)
        return row is not None and not row.destroyed

    @property
    def current(self) -> int:
        """The version that a plain read gives; 0 when there is none."""
        return self.labels.get(CURRENT, 0)

    @property
    def oldest(self) -> int:
        """Vault's `oldest_version`: 0 until a version has been dropped."""
        lowest = min(self.versions, default=0)
        return lowest if lowest > 1 else 0

    def labels_of(self, number: int) -> list[str]:
        """The labels of a version, sorted."""
        return sorted(label for label, labelled in self.labels.items() if labelled == number)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all secrets of a mount: `config`."""

    max_versions: int = 0  # 0: ten
    cas_required: bool = False
    delete_version_after: int = 0  # seconds; 0: never, -1: never, whatever a secret says
    metadata_cas_required: bool = False


DEFAULT_SETTINGS = Settings()


def new_secret(secret_id: str, now: int) -> Secret:
    """One without versions."""
    return Secret(1, secret_id, now, now)


# --- writing ----------------------------------------------------------------------------------------------------------


def check_cas(secret: Secret | None, cas: int | None, *, label: str, settings: Settings) -> None:
    """Compare with the version that holds the label which is to be written (0: none does).

    Raises InvalidRequestError, in Vault's words.
    """
    if cas is None:
        if settings.cas_required or (secret is not None and secret.cas_required):
            raise InvalidRequestError("check-and-set parameter required for this call")
        return
    held = secret.labels.get(label, 0) if secret is not None else 0
    if cas != held:
        raise InvalidRequestError("check-and-set parameter did not match the current version")


def next_version(secret: Secret, now: int, author: Author, *, settings: Settings) -> Version:
    """A version made now; with a time of deletion where secret or mount ask for one. The shorter of both counts."""
    after = 0
    if settings.delete_version_after >= 0:
        asked = [seconds for seconds in (settings.delete_version_after, secret.delete_version_after) if seconds]
        after = min(asked, default=0)
    deleted_at = min(now + after * SECOND, LATEST) if after else 0
    return Version(created_at=now, deleted_at=deleted_at, author=author)


def with_version(secret: Secret, version: Version, *, label: str, settings: Settings) -> Secret:
    """The secret with one version more, which takes the label; versions beyond the limit are dropped."""
    number = secret.latest + 1
    added = replace(secret, latest=number, updated_at=version.created_at, versions={**secret.versions, number: version})
    return within_limit(with_label(added, label, number), settings)


def within_limit(secret: Secret, settings: Settings) -> Secret:
    """Without versions that are too old; those with a label are kept."""
    limit = secret.max_versions or settings.max_versions or DEFAULT_MAX_VERSIONS
    lowest = secret.latest - limit + 1
    if lowest <= 1 or min(secret.versions, default=lowest) >= lowest:
        return secret
    kept = set(secret.labels.values())
    versions = {number: row for number, row in secret.versions.items() if number >= lowest or number in kept}
    return replace(secret, versions=versions)


def with_label(secret: Secret, label: str, number: int) -> Secret:
    """A label moves to a version. What was current becomes `previous`, and what becomes current is pending no more."""
    labels = dict(secret.labels)
    before = labels.get(label, 0)
    if label == CURRENT:
        if before and before != number:
            labels[PREVIOUS] = before
        if labels.get(PENDING) == number:
            del labels[PENDING]
    labels[label] = number
    if len(labels) > MAX_LABELS:
        raise InvalidRequestError(f"a secret has at most {MAX_LABELS} labels; remove one first")
    return replace(secret, labels=labels)


def check_labelable(secret: Secret, label: str, number: int, now: int) -> None:
    """Raise InvalidRequestError for a label on what cannot be read: current on it would take the secret from readers.

    Other labels may stand on a disabled version, which can be enabled again.
    """
    state = secret.versions[number].state(now)
    if state is State.DESTROYED:
        raise InvalidRequestError(f"version {number} is destroyed, and a label on it would name nothing")
    if state is State.DISABLED and label == CURRENT:
        raise InvalidRequestError(
            f"version {number} is deleted or disabled; undelete or enable it before it is current"
        )


def without_label(secret: Secret, label: str) -> Secret:
    """The label names nothing any more. Raises InvalidRequestError for `current`, which only moves; NotFoundError."""
    if label == CURRENT:
        raise InvalidRequestError("the label current cannot be removed; move it to another version")
    if label not in secret.labels:
        raise NotFoundError(f"the secret has no label {label}")
    return replace(secret, labels={name: number for name, number in secret.labels.items() if name != label})


def deleted(secret: Secret, numbers: Iterable[int], now: int) -> Secret:
    """Those versions deleted softly; one that is deleted or destroyed already stays as it is."""
    return _each(
        secret,
        numbers,
        lambda row: (
            replace(row, deleted_at=now) if row.state(now) is not State.DESTROYED and not _is_past(row, now) else row
        ),
    )


def undeleted(secret: Secret, numbers: Iterable[int]) -> Secret:
    """Undo `deleted`, and a time of deletion to come."""
    return _each(secret, numbers, lambda row: row if row.destroyed else replace(row, deleted_at=0))


def destroyed(secret: Secret, numbers: Iterable[int]) -> Secret:
    """Those versions without their values, for good."""
    return _each(secret, numbers, lambda row: replace(row, destroyed=True))


def with_state(secret: Secret, numbers: Iterable[int], state: State) -> Secret:
    """Those versions in that state. Raises InvalidRequestError where a destroyed one is to come back."""
    numbers = list(numbers)
    if state is State.DESTROYED:
        return destroyed(secret, numbers)
    for number in numbers:
        row = secret.versions.get(number)
        if row is not None and row.destroyed:
            raise InvalidRequestError(f"version {number} is destroyed, and cannot be {state.value} again")
    if state is State.DISABLED:
        return _each(secret, numbers, lambda row: replace(row, disabled=True))
    return _each(secret, numbers, lambda row: replace(row, disabled=False, deleted_at=0))


def _is_past(row: Version, now: int) -> bool:
    return 0 < row.deleted_at <= now


def _each(secret: Secret, numbers: Iterable[int], change: Callable[[Version], Version]) -> Secret:
    """Numbers of which there is no version are passed over, as in Vault."""
    wanted = {number for number in numbers if number in secret.versions}
    versions = {number: change(row) if number in wanted else row for number, row in secret.versions.items()}
    return secret if versions == secret.versions else replace(secret, versions=versions)


# --- reading ----------------------------------------------------------------------------------------------------------


def chosen(secret: Secret, *, version: int = 0, stage: str = "") -> int:
    """Which version is asked for; 0 when there is none such."""
    if version:
        return version if version in secret.versions else 0
    number = secret.labels.get(stage or CURRENT, 0)
    return number if number in secret.versions else 0

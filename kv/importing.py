"""How versions from elsewhere come into a secret: with their numbers, times and states. No I/O.

An import adds and never replaces. What is there already and is the same is passed over, so that a broken import can be
sent again; what differs is refused, and then nothing of the request is written. Numbers grow: a version that is not
there and lies below the latest is refused, unless it is so old that the secret would not keep it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from core.errors import InvalidRequestError
from kv import exact_json
from kv import secret as rules
from kv.secret import CURRENT, DEFAULT_MAX_VERSIONS, Author, Secret, Settings, Version

DIFFERS = "is there already and differs"

_sorted = msgspec.json.Encoder(order="deterministic").encode  # the order of names is not compared


class GivenVersion(NamedTuple):
    """One version as it was elsewhere. Times in nanoseconds; `value` is its JSON, None when it cannot be had."""

    created_at: int  # 0: not said
    deleted_at: int
    destroyed: bool
    disabled: bool
    value: bytes | None

    @property
    def gone(self) -> bool:
        """Whether it comes without its value, which then can never be read here."""
        return self.destroyed or self.value is None


class Given(NamedTuple):
    """What one request brings. `settings` are members of Secret; `labels` all there are to be, None: as of puts."""

    versions: Mapping[int, GivenVersion]
    settings: Mapping[str, Any]
    created_at: int = 0
    updated_at: int = 0
    labels: Mapping[str, int] | None = None


class Sorted(NamedTuple):
    """Numbers of versions, by what becomes of them."""

    present: list[int]  # there, to be compared
    added: list[int]
    dropped: list[int]  # too old to be kept


def sorted_out(secret: Secret, given: Given, settings: Settings) -> Sorted:
    """Raises InvalidRequestError for a version that is missing below the latest."""
    limit = secret.max_versions or settings.max_versions or DEFAULT_MAX_VERSIONS
    found = Sorted([], [], [])
    for number in sorted(given.versions):
        if number in secret.versions:
            found.present.append(number)
        elif number > secret.latest:
            found.added.append(number)
        elif number <= secret.latest - limit:
            found.dropped.append(number)
        else:
            raise InvalidRequestError(
                f"version {number} is not there, and the secret has version {secret.latest} already: "
                "versions are imported in the order of their numbers"
            )
    return found


def check_same_settings(secret: Secret, given: Given) -> None:
    """Raises InvalidRequestError that names a member of the metadata which is said to be otherwise than it is."""
    said = {**given.settings, **({"created_at": given.created_at} if given.created_at else {})}
    for name, value in said.items():
        if getattr(secret, name) != value:
            wire = "created_time" if name == "created_at" else name
            raise InvalidRequestError(f"the secret {DIFFERS} in its metadata: {wire}")


def check_same(number: int, row: Version, given: GivenVersion, value: bytes | None) -> None:
    """Raises InvalidRequestError unless the version is what is given; `value` None when it is not to be compared."""
    what = _difference(row, given, value)
    if what:
        raise InvalidRequestError(f"version {number} {DIFFERS}: {what}")


def _difference(row: Version, given: GivenVersion, value: bytes | None) -> str:
    """Without its value, a version that was deleted elsewhere is the one that is deleted here, value or not."""
    if given.created_at and given.created_at != row.created_at:
        return "created_time"
    if given.deleted_at != row.deleted_at:
        return "deletion_time"
    if given.destroyed != row.destroyed and not (given.value is None and not given.destroyed):
        return "destroyed"
    if given.disabled != row.disabled and not row.destroyed:
        return "state"
    if value is not None and given.value is not None and not _is_same(value, given.value):
        return "data"
    return ""


def _is_same(value: bytes, other: bytes) -> bool:
    """As JSON: true is not 1, as it is in Python, and 1.0 is not 1."""
    return value == other or _sorted(exact_json.decode(value)) == _sorted(exact_json.decode(other))


def check_same_labels(secret: Secret, given: Given) -> None:
    """Raises InvalidRequestError where labels are said that are not so."""
    if given.labels is not None and dict(given.labels) != secret.labels:
        raise InvalidRequestError(f"the secret {DIFFERS} in its stages")


def created(secret_id: str, given: Given, now: int) -> Secret:
    """The secret before its first version comes."""
    first = min((version.created_at for version in given.versions.values() if version.created_at), default=now)
    made = replace(rules.new_secret(secret_id, now), created_at=given.created_at or first)
    described = replace(made, **given.settings)
    return described if described == made else replace(described, metadata_version=1)


def with_versions(
    secret: Secret, given: Given, added: Iterable[int], *, author: Author, now: int, settings: Settings
) -> Secret:
    """The secret with those versions more, and its labels; versions beyond the limit are dropped."""
    numbers = list(added)
    rows = {number: _row(given.versions[number], author, now) for number in numbers}
    after = replace(
        secret,
        versions={**secret.versions, **rows},
        latest=max([secret.latest, *numbers]),
        updated_at=_updated_at(secret, given, rows, now),
    )
    return rules.within_limit(_labelled(after, given, numbers), settings)


def _row(given: GivenVersion, author: Author, now: int) -> Version:
    return Version(
        created_at=given.created_at or now,
        deleted_at=given.deleted_at,
        destroyed=given.gone,
        disabled=given.disabled and not given.gone,
        author=author,
    )


def _updated_at(secret: Secret, given: Given, rows: Mapping[int, Version], now: int) -> int:
    """What was said, but never before the versions that came."""
    if not given.updated_at:
        return now
    before = secret.updated_at if secret.versions else 0
    return max([given.updated_at, before, *(row.created_at for row in rows.values())])


def _labelled(secret: Secret, given: Given, added: list[int]) -> Secret:
    """As the import says, else as if the versions had been put one by one."""
    labels = given.labels
    if labels is not None:
        unknown = next((label for label, number in labels.items() if number not in secret.versions), None)
        if unknown is not None:
            raise InvalidRequestError(f"the stage {unknown} names version {labels[unknown]}, which there is none of")
        secret = replace(secret, labels=dict(labels))
        return secret if CURRENT in labels or not added else rules.with_label(secret, CURRENT, secret.latest)
    for number in added:
        secret = rules.with_label(secret, CURRENT, number)
    return secret

"""The body of an import, from JSON to what `kv.importing` works on."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from core.durations import parse_duration
from core.errors import InvalidRequestError
from core.requests import Request
from kv import exact_json
from kv.engine import check_size
from kv.importing import Given, GivenVersion
from kv.labels import label_of
from kv.metadata import check_classification, check_custom_metadata, check_max_versions, check_owner
from kv.secret import MAX_LABELS, State
from kv.times import SECOND, parse_time

MAX_VERSIONS = 1000  # of one request; more come in several
SKEW = 60 * SECOND  # by which the clock of where a version comes from may be ahead of ours
_LARGEST = 1 << 31


class ImportVersion(msgspec.Struct):
    """A version: `data`, or why there is none; times as in RFC 3339."""

    data: dict[str, Any] | None = None
    created_time: str | None = None
    deletion_time: str | None = None
    destroyed: bool | None = None
    state: str | None = None  # "disabled": not read until it is enabled again


class ImportMetadata(msgspec.Struct):
    """As metadata/ shows it; its counts and version numbers are not looked at."""

    max_versions: int | None = None
    cas_required: bool | None = None
    metadata_cas_required: bool | None = None
    delete_version_after: Any = None
    custom_metadata: dict[str, Any] | None = None
    owner: str | None = None
    classification: str | None = None
    rotate_every: Any = None
    expires_at: str | None = None
    created_time: str | None = None
    updated_time: str | None = None


class ImportBody(msgspec.Struct):
    """A secret, or those of its versions that are not here yet; `stages` are the labels it is to have."""

    metadata: ImportMetadata | None = None
    versions: dict[str, ImportVersion] = {}
    stages: dict[str, int] | None = None


def parse_import(request: Request, body: ImportBody, *, now: int) -> Given:
    """Raises InvalidRequestError that names the member, RequestTooLargeError for a value or too many versions."""
    if len(body.versions) > MAX_VERSIONS:
        raise InvalidRequestError(f"one request imports at most {MAX_VERSIONS} versions; send the rest after them")
    if body.metadata is None and not body.versions:
        raise InvalidRequestError("give versions, or at least the secret's metadata")
    exact = exact_json.whole_body(request).get("versions") or {}
    metadata = body.metadata or ImportMetadata()
    return Given(
        versions={
            _number(text): _version(text, version, exact[text].get("data"), now)
            for text, version in body.versions.items()
        },
        settings=_settings(metadata),
        created_at=_past(metadata.created_time, "metadata.created_time", now),
        updated_at=_past(metadata.updated_time, "metadata.updated_time", now),
        labels=None if body.stages is None else _labels(body.stages),
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and text[0] != "0" and int(text) < _LARGEST):
        raise InvalidRequestError(f"versions are named by their numbers, from 1 to {_LARGEST - 1}")
    return int(text)


def _version(number: str, version: ImportVersion, data: exact_json.Json | None, now: int) -> GivenVersion:
    where = f"versions.{number}"
    deleted_at = parse_time(version.deletion_time or "", field=f"{where}.deletion_time")
    destroyed = bool(version.destroyed) or version.state == State.DESTROYED.value
    if version.state not in {None, "", *(state.value for state in State)}:
        raise InvalidRequestError(f"{where}.state is enabled, disabled or destroyed")
    if destroyed and data is not None:
        raise InvalidRequestError(f"{where} is destroyed and has data; it can only be one of them")
    if data is None and not destroyed and not 0 < deleted_at <= now + SKEW:
        raise InvalidRequestError(f"{where} has no data, and is neither destroyed nor deleted already")
    disabled = version.state == State.DISABLED.value and not 0 < deleted_at <= now
    return GivenVersion(
        created_at=_past(version.created_time, f"{where}.created_time", now),
        deleted_at=deleted_at,
        destroyed=destroyed,
        disabled=disabled,
        value=None if data is None else _encoded(data),
    )


def _encoded(data: exact_json.Json) -> bytes:
    value = exact_json.encode(data)
    check_size(value)
    return value


def _past(text: str | None, field: str, now: int) -> int:
    """A time that has been; 0 when none is said."""
    moment = parse_time(text or "", field=field)
    if moment > now + SKEW:
        raise InvalidRequestError(f"{field} lies in the future")
    return moment


def _labels(stages: Mapping[str, int]) -> dict[str, int]:
    labels = {label_of(text): number for text, number in stages.items()}
    if "" in labels or len(labels) != len(stages):
        raise InvalidRequestError("stages has an empty name, or one twice")
    if len(labels) > MAX_LABELS:
        raise InvalidRequestError(f"a secret has at most {MAX_LABELS} labels")
    return labels


def _settings(metadata: ImportMetadata) -> dict[str, Any]:
    """Those members of a Secret that are said."""
    return {
        name: _READERS[name](value)
        for name in metadata.__struct_fields__
        if name in _READERS and (value := getattr(metadata, name)) is not None
    }


def _delete_version_after(value: object) -> int:
    """Below zero there is one value: never."""
    return max(parse_duration(value, field="metadata.delete_version_after"), -1)


def _rotate_every(value: object) -> int:
    seconds = parse_duration(value, field="metadata.rotate_every")
    if seconds < 0:
        raise InvalidRequestError("metadata.rotate_every must not be negative")
    return seconds


def _custom(given: Mapping[str, Any]) -> dict[str, str] | None:
    if not all(isinstance(value, str) for value in given.values()):
        raise InvalidRequestError("metadata.custom_metadata holds a value that is no string")
    check_custom_metadata(given)
    return dict(given) or None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "max_versions": check_max_versions,
    "cas_required": bool,
    "metadata_cas_required": bool,
    "delete_version_after": _delete_version_after,
    "custom_metadata": _custom,
    "owner": check_owner,
    "classification": check_classification,
    "rotate_every": _rotate_every,
    "expires_at": lambda value: parse_time(value, field="metadata.expires_at"),
}

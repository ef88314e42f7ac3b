"""How secrets and versions look in answers: Vault's members, and beside them what is Mimir's own."""

from typing import Any

from core.durations import format_duration
from core.requests import PreparedData, Response
from kv import exact_json
from kv.engine import Written
from kv.secret import Author, Secret, Settings, State
from kv.times import show_time


def version_block(secret: Secret, number: int) -> dict[str, Any]:
    """`metadata` of one version, as it stands beside its data."""
    version = secret.versions[number]
    block: dict[str, Any] = {
        "created_time": show_time(version.created_at),
        "custom_metadata": secret.custom_metadata,
        "deletion_time": show_time(version.deleted_at),
        "destroyed": version.destroyed,
        "version": number,
    }
    if version.disabled:  # else nothing would tell why there is no data
        block["state"] = State.DISABLED.value
    return block


def read_answer(secret: Secret, number: int, value: bytes) -> PreparedData:
    """Data and metadata of a version; `value` is its JSON."""
    metadata = version_block(secret, number)
    return PreparedData(
        {"data": exact_json.decode(value), "metadata": metadata},
        b'{"data":%b,"metadata":%b}' % (value, exact_json.encode(metadata)),
    )


def gone_answer(secret: Secret, number: int) -> Response:
    """404 with a body: the version is there, its data is not to be read. Clients look into the body."""
    return Response(status=404, data={"data": None, "metadata": version_block(secret, number)})


def written_answer(written: Written) -> Response:
    """Of a put or a patch."""
    return Response(data=version_block(written.secret, written.number))


def author_block(author: Author) -> dict[str, Any]:
    """Who made a version: members that stand beside Vault's in metadata/."""
    return {
        "created_by": {"name": author.name, "entity_id": author.entity_id},
        "created_from": author.address,
        "reason": author.reason,
    }


def versions_block(secret: Secret, now: int) -> dict[str, Any]:
    """`versions` of metadata/, by number, at the moment `now` (nanoseconds)."""
    return {
        str(number): {
            "created_time": show_time(version.created_at),
            "deletion_time": show_time(version.deleted_at),
            "destroyed": version.destroyed,
            "state": version.state(now).value,
            "stages": secret.labels_of(number),
            **author_block(version.author),
        }
        for number, version in sorted(secret.versions.items())
    }


def metadata_block(secret: Secret, now: int) -> dict[str, Any]:
    """`data` of metadata/: Vault's members, OpenBao's of its compare-and-set, and ours."""
    return {
        "cas_required": secret.cas_required,
        "created_time": show_time(secret.created_at),
        "current_metadata_version": secret.metadata_version,
        "current_version": secret.current,
        "custom_metadata": secret.custom_metadata,
        "delete_version_after": format_duration(secret.delete_version_after),
        "max_versions": secret.max_versions,
        "metadata_cas_required": secret.metadata_cas_required,
        "oldest_version": secret.oldest,
        "updated_time": show_time(secret.updated_at),
        "versions": versions_block(secret, now),
        "owner": secret.owner,
        "classification": secret.classification,
        "rotate_every": format_duration(secret.rotate_every),
        "expires_at": show_time(secret.expires_at),
        "stages": dict(sorted(secret.labels.items())),
    }


def settings_block(settings: Settings) -> dict[str, Any]:
    """`data` of config."""
    return {
        "cas_required": settings.cas_required,
        "delete_version_after": format_duration(settings.delete_version_after),
        "max_versions": settings.max_versions,
        "metadata_cas_required": settings.metadata_cas_required,
    }

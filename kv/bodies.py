"""Bodies of kv's routes. What must keep its digits is read from the request itself (`kv.exact_json`)."""

from typing import Any

import msgspec


class PutOptions(msgspec.Struct):
    """`cas`: the version that must hold the label now; 0: none may. `stage`: the label, `current` unless said."""

    cas: int | None = None
    stage: str | None = None


class PutBody(msgspec.Struct):
    """A new version."""

    data: dict[str, Any] | None = None
    options: PutOptions | None = None


class VersionsBody(msgspec.Struct):
    """Which versions."""

    versions: Any = None

"""Which request headers stand in the audit records, in clear or as keyed hashes."""

from collections.abc import Mapping

from appliance.settings import Settings

# They are credentials: never in clear, whatever the operator says.
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-vault-token", "x-mimir-token"})

Found = dict[str, list[str]] | None


class AuditedHeaders:
    """What `sys/config/auditing/request-headers` names; `active` is False while that is nothing."""

    def __init__(self) -> None:
        self.active = False
        self._clear: tuple[str, ...] = ()
        self._hashed: tuple[str, ...] = ()

    def apply(self, settings: Settings) -> None:
        """For `SystemSettings.watch`."""
        named = settings.audited_headers
        self._clear = tuple(name for name, hashed in named.items() if not hashed and name not in SECRET_HEADERS)
        self._hashed = tuple(name for name in named if name not in self._clear)
        self.active = bool(named)

    def select(self, headers: Mapping[str, str]) -> tuple[Found, Found]:
        """`headers` and `secret_headers` of an AuditRequest."""
        if not self.active:
            return None, None
        return _present(self._clear, headers), _present(self._hashed, headers)


def _present(names: tuple[str, ...], headers: Mapping[str, str]) -> Found:
    return {name: [value] for name in names if (value := headers.get(name)) is not None} or None

"""One run of the command: flags over environment over defaults, and the client they make."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client.inputs import Inputs

if TYPE_CHECKING:
    from client.api import Client

FORMATS = ("table", "json", "yaml")
_TRUE = {"1", "t", "true", "yes", "on"}
_FALSE = {"0", "f", "false", "no", "off"}
_DEFAULT_TIMEOUT = 60.0  # seconds, as Vault's own client


class Session:
    """What every command needs. Flags may stand before or after the subcommand: the last one counts."""

    def __init__(self, environ: Mapping[str, str], before_http: Callable[[], None] | None = None) -> None:
        self._environ = environ
        self._flags: dict[str, str] = {}
        self._before_http = before_http
        self.inputs = Inputs()

    def set_flag(self, name: str, value: str) -> None:
        """Remember a flag that was given."""
        self._flags[name] = value

    def without_vault(self) -> "Session":
        """The same command, deaf to VAULT_*: where these speak of another server."""
        environ = {name: value for name, value in self._environ.items() if not name.startswith("VAULT_")}
        return self._other(environ, self._flags)

    def of_vault(self, flags: Mapping[str, str]) -> "Session":
        """A session with another server, to which VAULT_* and those flags speak, and nothing else."""
        environ = {name: value for name, value in self._environ.items() if not name.startswith("MIMIR_")}
        kept = {name: value for name, value in self._flags.items() if name == "timeout"}
        return self._other(environ, kept | dict(flags))

    def _other(self, environ: Mapping[str, str], flags: Mapping[str, str]) -> "Session":
        made = Session(environ, self._before_http)
        for name, value in flags.items():
            made.set_flag(name, value)
        made.inputs = self.inputs
        return made

    def _setting(self, name: str, variable: str, default: str = "") -> str:
        flag = self._flags.get(name)
        return flag if flag is not None else self.variable(variable) or default

    def variable(self, name: str) -> str:
        """MIMIR_<name>, else VAULT_<name>, else ""; a variable that is set to nothing counts as not set."""
        return self._environ.get(f"MIMIR_{name}") or self._environ.get(f"VAULT_{name}") or ""

    @property
    def format(self) -> str:
        """table, json or yaml."""
        chosen = self._setting("format", "FORMAT", "table").lower()
        if chosen not in FORMATS:
            raise click.UsageError(f"the output format {chosen!r} is unknown: choose table, json or yaml")
        return chosen

    @property
    def has_format(self) -> bool:
        """Whether a format was asked for, by flag or environment."""
        return bool(self._setting("format", "FORMAT"))

    @property
    def field(self) -> str:
        """The one field to print, or ""."""
        return self._flags.get("field", "")

    @property
    def home(self) -> Path:
        """Where the token file lies."""
        return Path(self._environ.get("HOME") or "~").expanduser()

    def environment_token(self) -> tuple[str, str]:
        """A token from the environment and the name of its variable, or two empty strings."""
        for name in ("MIMIR_TOKEN", "VAULT_TOKEN"):
            if self._environ.get(name):
                return self._environ[name], name
        return "", ""

    def token(self) -> str:
        """The token from the environment, else from the token file, else ""."""
        token, _ = self.environment_token()
        if token:
            return token
        from client.token_file import load_token, token_file_path

        return load_token(token_file_path(str(self.home)))

    @property
    def timeout(self) -> float:
        """Seconds to wait for the appliance."""
        text = self._setting("timeout", "CLIENT_TIMEOUT")
        if not text:
            return _DEFAULT_TIMEOUT
        from core.durations import parse_duration
        from core.errors import InvalidRequestError

        try:
            seconds = float(text) if text.replace(".", "", 1).isdigit() else float(parse_duration(text))
        except InvalidRequestError as exc:
            raise click.UsageError(f"the timeout {text!r} is no duration: write 30s or 2m") from exc
        if not 0 < seconds <= 86400 or not math.isfinite(seconds):
            raise click.UsageError(f"the timeout {text!r} is not between 0 and 24 hours")
        return seconds

    def _is_on(self, name: str, variable: str) -> bool:
        text = self._setting(name, variable, "false").lower()
        if text not in _TRUE | _FALSE:
            raise click.UsageError(f"{name} (MIMIR_{variable}, VAULT_{variable}) is {text!r}: write true or false")
        return text in _TRUE

    def client(self, *, token: str | None = None, wrap_ttl: str | None = None) -> "Client":
        """The client for this run; a given token takes the place of the stored one, as a wrap TTL does of the one set.

        What cannot be printed is found here, before anything is sent: an answer may come only once.
        """
        _ = self.format
        if self._before_http is not None:
            self._before_http()
        from client.api import Client
        from client.endpoint import DEFAULT_ADDRESS, parse_address
        from client.transport import TlsOptions

        tls = TlsOptions(
            ca_cert=self._setting("ca-cert", "CACERT"),
            ca_path=self._setting("ca-path", "CAPATH"),
            client_cert=self._setting("client-cert", "CLIENT_CERT"),
            client_key=self._setting("client-key", "CLIENT_KEY"),
            server_name=self._setting("tls-server-name", "TLS_SERVER_NAME"),
            skip_verify=self._is_on("tls-skip-verify", "SKIP_VERIFY"),
        )
        return Client(
            endpoint=parse_address(self._setting("address", "ADDR", DEFAULT_ADDRESS)),
            tls=tls,
            timeout=self.timeout,
            load_token=self.token if token is None else lambda: token,
            namespace=self._setting("namespace", "NAMESPACE"),
            wrap_ttl=self._setting("wrap-ttl", "WRAP_TTL") if wrap_ttl is None else wrap_ttl,
        )


pass_session = click.make_pass_decorator(Session)

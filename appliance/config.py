"""`mimir.toml`: what the operator decides, checked before anything is opened.

Every mistake is a ConfigError whose sentence names the file, the key and what to write instead. Relative paths count
from the directory of the file. The PIN is never part of it, only where the PIN is.
"""

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import msgspec

from core.errors import ConfigError

DEFAULT_PORT = 8200
DEV_TOKEN_LABEL = "mimir-dev"  # noqa: S105 - a name, not a credential
SOFTHSM_MODULE = "/usr/lib/softhsm/libsofthsm2.so"


C = TypeVar("C", bound="Config")


class HsmConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which token, and where its PIN is: the first given of `pin_credential`, `pin_file` and `pin_env` counts."""

    module: str
    token_label: str = ""
    token_serial: str = ""
    pin_credential: str = ""  # the name in LoadCredential=
    pin_file: str = ""
    pin_env: str = ""  # the name of an environment variable
    mode: Literal["auto", "inline", "pool"] = "auto"
    pool_size: int = 32
    locking: Literal["os", "none"] = "os"
    handle_cache: int = 2000
    softhsm_token_dir: str = ""  # what softhsm/provision made; sets SOFTHSM2_CONF for the processes that open it


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the sealed entries are: `sqlite:////var/lib/mimir/mimir.db` or `postgresql://…`."""

    url: str

    def __repr__(self) -> str:
        return "StoreConfig(…)"  # the URL may hold a password


class ListenerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address. Without `tls_cert` it speaks plain HTTP, which off loopback must be said."""

    address: str
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""  # client certificates are asked for, not demanded, and must chain to one of these
    plain_http: Literal["loopback", "anywhere"] = "loopback"

    @property
    def unix_path(self) -> str:
        """The socket's path, or nothing."""
        return self.address.removeprefix("unix:") if self.address.startswith("unix:") else ""

    @property
    def host_and_port(self) -> tuple[str, int]:
        """As for `bind`; the host is an IP address, or "" for every one. Raises ConfigError."""
        return parse_address(self.address)

    @property
    def url(self) -> str:
        """How a client on this machine reaches it."""
        if self.unix_path:
            return f"unix:{self.unix_path}"
        host, port = self.host_and_port
        shown = f"[{host}]" if ":" in host else host or "127.0.0.1"
        return f"{'https' if self.tls_cert else 'http'}://{shown}:{port}"


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes, and what a request may cost. Times in seconds, sizes in bytes."""

    workers: int = 0  # 0: one for each core this process may use
    data_dir: str = "/var/lib/mimir"
    runtime_dir: str = ""  # the change ring and locks; on a memory file system, shared by nobody
    cluster_name: str = "mimir"
    api_addr: str = ""
    request_timeout: float = 90.0
    drain_timeout: float = 30.0
    max_body: int = 33_554_432
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    # sys/generate-root and sys/rekey without a token, as older clients of Vault call them; the newer paths ask for one
    unauthenticated_ceremonies: bool = True
    auto_init: bool = False  # initialise an empty store at start and write init_file: for development


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of one node."""

    hsm: HsmConfig
    store: StoreConfig
    listener: tuple[ListenerConfig, ...]
    server: ServerConfig = msgspec.field(default_factory=ServerConfig)
    development: bool = False  # set by Config.dev alone; a file cannot
    source: str = ""  # the file it came from, for messages

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check a file. Raises ConfigError."""
        file = Path(path)
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError(f"cannot read the configuration {file}: {exc.strerror}") from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{file} is not TOML: {exc}") from exc
        return cls.parse(document, source=str(file.absolute()))

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, source: str) -> Self:
        """From a parsed document; `source` is the file that relative paths and messages refer to."""
        _check_keys(document, source)
        try:
            config = msgspec.convert({**document, "source": source}, cls)
        except msgspec.ValidationError as exc:
            raise ConfigError(f"{source}: {_readable(exc)}") from exc
        config = _with_defaults(config)
        check_config(config)
        return config

    @classmethod
    def dev(
        cls,
        data_dir: str | os.PathLike[str],
        listen: str,
        *,
        workers: int = 0,
        no_init: bool = False,
        tls: bool = False,
    ) -> Self:
        """The configuration of `mimir server --dev`: everything below `data_dir`. Opens and writes nothing."""
        base = Path(data_dir).absolute()
        tls_dir = base / "tls"
        listener = ListenerConfig(
            address=listen,
            tls_cert=str(tls_dir / "server.pem") if tls else "",
            tls_key=str(tls_dir / "server-key.pem") if tls else "",
            plain_http="anywhere",  # --listen is the explicit word
        )
        config = cls(
            hsm=HsmConfig(
                module=SOFTHSM_MODULE,
                token_label=DEV_TOKEN_LABEL,
                pin_file=str(base / "hsm-pin"),
                softhsm_token_dir=str(base / "softhsm"),
            ),
            store=StoreConfig(url=f"sqlite:///{base}/mimir.db"),
            listener=(listener,),
            server=ServerConfig(
                workers=workers,
                data_dir=str(base),
                runtime_dir=str(base / "run"),
                log_format="text",
                auto_init=not no_init,
            ),
            development=True,
            source="mimir server --dev",
        )
        config = _with_defaults(config)
        check_config(config)
        return config

    @property
    def init_file(self) -> Path:
        """Where automatic initialisation leaves the root token and the shares (0600)."""
        return Path(self.server.data_dir) / "init.json"

    @property
    def ring_path(self) -> Path:
        """The memory-mapped file that this node's processes share."""
        return Path(self.server.runtime_dir) / "changes"

    @property
    def pin_refused_path(self) -> Path:
        """There while the HSM has refused the PIN and the service was not restarted since."""
        return Path(self.server.runtime_dir) / "pin-refused"

    def encode(self) -> bytes:
        """For a child process; `decode` undoes it. May hold the store's password, never the PIN."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What `encode` made."""
        return msgspec.json.decode(data, type=cls)


def parse_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:8200`, `[::1]:8200`, `localhost:8200`, or `:8200` for every address. Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f'the listener address "{address}" is not HOST:PORT, for example "127.0.0.1:{DEFAULT_PORT}"')
    if host == "localhost":
        return "127.0.0.1", int(port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f'the listener address "{address}" needs brackets around IPv6: "[{host}]:{port}"')
    if host:
        try:
            ipaddress.ip_address(host)
        except ValueError as exc:
            raise ConfigError(f'the listener address "{address}" must hold an IP address, not a name') from exc
    return host, int(port)


def check_config(config: Config) -> None:
    """What types cannot say. Raises ConfigError."""
    hsm, server = config.hsm, config.server
    if not hsm.token_label and not hsm.token_serial:
        raise _mistake(config, "hsm.token_label", "say which token: its label, or its serial as token_serial")
    if not (hsm.pin_credential or hsm.pin_file or hsm.pin_env):
        raise _mistake(config, "hsm.pin_credential", "say where the PIN is: pin_credential, pin_file or pin_env")
    if not config.listener:
        raise _mistake(config, "listener", 'add a [[listener]] with an address such as "127.0.0.1:8200"')
    for key in ("request_timeout", "drain_timeout", "max_body"):
        if not getattr(server, key) > 0:
            raise _mistake(config, f"server.{key}", "must be greater than zero")
    for key, value in (("server.workers", server.workers), ("hsm.pool_size", hsm.pool_size)):
        if not 0 < value <= 1024:
            raise _mistake(config, key, "must be between 1 and 1024")
    for listener in config.listener:
        _check_listener(config, listener)


def _check_listener(config: Config, listener: ListenerConfig) -> None:
    if bool(listener.tls_cert) != bool(listener.tls_key):
        missing = "tls_key" if listener.tls_cert else "tls_cert"
        raise _mistake(config, f"listener.{missing}", "a TLS listener needs both tls_cert and tls_key")
    if listener.tls_client_ca and not listener.tls_cert:
        raise _mistake(config, "listener.tls_client_ca", "client certificates need tls_cert and tls_key")
    if listener.unix_path:
        return
    host, _ = listener.host_and_port
    loopback = bool(host) and ipaddress.ip_address(host).is_loopback
    if not listener.tls_cert and not loopback and listener.plain_http != "anywhere":
        raise _mistake(
            config,
            "listener.plain_http",
            f"{listener.address} is reachable from other machines: give tls_cert and tls_key, or say "
            'plain_http = "anywhere" if something in front of it speaks TLS',
        )


def _mistake(config: Config, key: str, mend: str) -> ConfigError:
    return ConfigError(f"{config.source}: {key}: {mend}")


def _check_keys(document: Mapping[str, Any], source: str) -> None:
    """Name an unknown key together with the one that was probably meant."""
    tables: dict[str, tuple[type[msgspec.Struct], Any]] = {
        "hsm": (HsmConfig, [document.get("hsm", {})]),
        "store": (StoreConfig, [document.get("store", {})]),
        "server": (ServerConfig, [document.get("server", {})]),
        "listener": (ListenerConfig, document.get("listener", [])),
    }
    _check_known(document, list(tables), f"{source}: ")
    for name, (struct, entries) in tables.items():
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict):
                _check_known(entry, list(struct.__struct_fields__), f"{source}: {name}.")


def _check_known(table: Mapping[str, Any], known: list[str], prefix: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
            raise ConfigError(f"{prefix}{key} is not known: {hint}")


def _readable(exc: msgspec.ValidationError) -> str:
    """`hsm.pool_size: Expected `int`, got `str`` out of msgspec's "… - at `$.hsm.pool_size`"."""
    text, _, where = str(exc).partition(" - at `$.")
    return f"{where.rstrip('`')}: {text}" if where else text


def _with_defaults(config: C) -> C:
    """Absolute paths, the number of workers, the runtime directory."""
    base = Path(config.source).parent if not config.development else Path.cwd()

    def absolute(path: str) -> str:
        return str(base / path) if path else ""

    server = config.server
    runtime = server.runtime_dir or os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or "/run/mimir"
    hsm = config.hsm
    return msgspec.structs.replace(
        config,
        hsm=msgspec.structs.replace(
            hsm,
            module=absolute(hsm.module),
            pin_file=absolute(hsm.pin_file),
            softhsm_token_dir=absolute(hsm.softhsm_token_dir),
        ),
        listener=tuple(
            msgspec.structs.replace(
                entry,
                tls_cert=absolute(entry.tls_cert),
                tls_key=absolute(entry.tls_key),
                tls_client_ca=absolute(entry.tls_client_ca),
            )
            for entry in config.listener
        ),
        server=msgspec.structs.replace(
            server,
            workers=server.workers or len(os.sched_getaffinity(0)),
            data_dir=absolute(server.data_dir),
            runtime_dir=absolute(runtime),
        ),
    )

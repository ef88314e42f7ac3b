"""Provision a SoftHSM token: PIN files, the token itself, a hardened KEK and an unclaimed escrow key.

Idempotent: what exists is kept, and nothing is ever overwritten. A file lock lets one provisioner work at a time.
"""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import click

from core.errors import ConfigError, MimirError
from pkcs11_glue.provision import ProvisionedKeys, provision_token
from pkcs11_glue.settings import HsmSettings, PinSource
from softhsm.token_backup import LOCK_NAME, TOKENS_NAME

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),  # Debian
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),  # Fedora
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)
CONFIG_NAME = "softhsm2.conf"
PIN_DIGITS = 16  # 53 bits; SoftHSM stretches a PIN little, so the file's mode is what protects it
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionResult:
    """What stands in the directory now, and which of it is new."""

    module: Path
    config_file: Path
    login_lock: Path
    label: str
    serial: str
    kek_id: str
    escrow_id: str  # "" once a cluster declined escrow
    created: tuple[str, ...]  # of "config", "pin file", "so-pin file", "token", "kek", "escrow key"


def softhsm_environment(token_dir: Path) -> dict[str, str]:
    """What a process needs in its environment to find the tokens below `token_dir`."""
    return {"SOFTHSM2_CONF": str(token_dir.resolve() / CONFIG_NAME)}


def find_module() -> Path:
    """Where SoftHSM's library is. Raises ConfigError saying what to install."""
    for path in MODULES:
        if path.is_file():
            return path
    raise ConfigError("SoftHSM is not installed; on Debian: apt-get install softhsm2")


def provision(
    token_dir: Path, *, label: str, pin_file: Path, so_pin_file: Path | None = None, module: Path | None = None
) -> ProvisionResult:
    """Make what is missing below `token_dir`, and answer what is there. Raises ConfigError.

    The library reads SOFTHSM2_CONF when it starts, so this sets it in this process: call it in a process of its own,
    or in one that will use this token and no other.
    """
    if not _LABEL.fullmatch(label):
        raise ConfigError("a token label has 1 to 32 letters, digits, spaces, dots, dashes or underscores")
    created: list[str] = []
    # 1. directories, configuration and PINs
    _make_private_directory(token_dir)
    config = _write_config(token_dir, created)
    os.environ.update(softhsm_environment(token_dir))
    so_pin_file = so_pin_file or pin_file.with_name(f"so-{pin_file.name}")
    _write_pin(pin_file, "pin file", created)
    _write_pin(so_pin_file, "so-pin file", created)
    # 2. the token and its keys
    settings = HsmSettings(
        module=module or find_module(),
        pin=PinSource(file=pin_file),
        token_label=label,
        login_lock=token_dir.resolve() / LOCK_NAME,
    )
    keys = provision_token(settings, so_pin=PinSource(file=so_pin_file))
    return _result(settings, config, keys, created)


def _result(settings: HsmSettings, config: Path, keys: ProvisionedKeys, created: list[str]) -> ProvisionResult:
    return ProvisionResult(
        module=settings.module,
        config_file=config,
        login_lock=settings.login_lock,
        label=settings.token_label or "",
        serial=keys.serial,
        kek_id=keys.kek_id,
        escrow_id=keys.escrow_id,
        created=(*created, *keys.created),
    )


def _make_private_directory(token_dir: Path) -> None:
    tokens = token_dir / TOKENS_NAME
    try:
        for directory in (token_dir, tokens):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        tokens.chmod(0o700)
    except OSError as exc:
        raise ConfigError(f"the token directory {exc.filename} cannot be made: {exc.strerror}") from exc


def _write_config(token_dir: Path, created: list[str]) -> Path:
    path = token_dir.resolve() / CONFIG_NAME
    text = (
        f"directories.tokendir = {token_dir.resolve() / TOKENS_NAME}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
    )
    if not path.exists() or path.read_text() != text:  # the directory may have been moved
        path.write_text(text)
        created.append("config")
    return path


def _write_pin(path: Path, what: str, created: list[str]) -> None:
    """A random PIN, readable by the owner alone; one that exists is kept.

    It appears whole or not at all, so that a provisioner that is killed leaves no empty file for the next one to keep.
    """
    if path.exists():
        return
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("".join(secrets.choice("0123456789") for _ in range(PIN_DIGITS)))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            return
        finally:
            partial.unlink()
    except OSError as exc:
        raise ConfigError(f"the {what} {path} cannot be written: {exc.strerror}") from exc
    created.append(what)


@click.command()
@click.option(
    "--token-dir", type=click.Path(path_type=Path), required=True, help="Where the token is kept (mode 0700)."
)
@click.option("--label", default="mimir", show_default=True, help="The token's label.")
@click.option("--pin-file", type=click.Path(path_type=Path), help="The user PIN; made when absent. [TOKEN_DIR/pin]")
@click.option("--so-pin-file", type=click.Path(path_type=Path), help="The SO PIN; made when absent. [so-PIN_FILE]")
@click.option("--module", type=click.Path(path_type=Path), help="SoftHSM's library, when it is in an unusual place.")
def main(token_dir: Path, label: str, pin_file: Path | None, so_pin_file: Path | None, module: Path | None) -> None:
    """Set up a SoftHSM token for Mimir: the token, its hardened KEK and its escrow key.

    Can be run again: what exists is kept.
    """
    pin_file = pin_file or token_dir / "pin"
    try:
        result = provision(token_dir, label=label, pin_file=pin_file, so_pin_file=so_pin_file, module=module)
    except MimirError as exc:
        raise click.ClickException(exc.sentence) from exc
    click.echo(f"token       {result.label} (serial {result.serial})")
    click.echo(f"module      {result.module}")
    click.echo(f"KEK         {result.kek_id}")
    click.echo(f"escrow key  {result.escrow_id or 'none (declined)'}")
    click.echo(f"made now    {', '.join(result.created) or 'nothing: everything was there'}")
    click.echo(f"to use it   export SOFTHSM2_CONF={result.config_file}")


if __name__ == "__main__":
    main()

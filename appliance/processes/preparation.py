"""What must happen before the application starts, each step in a short-lived process of its own.

The list of steps is here and nowhere else. A step gets the configuration, raises a MimirError to end the start, and
does not depend on another step: they run side by side. Libraries are imported inside a step, so that no other process
pays for them.
"""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from appliance.config import Config
from appliance.processes.channel import EX_SOFTWARE, ChildEnd, Report, failure, read_config
from appliance.processes.hardening import die_with_parent, forbid_memory_images
from core.errors import MimirError

Step = Callable[[Config], None]


def migrate_schema(config: Config) -> None:
    """Bring the store to this version's schema."""
    from barrier.schema_version import is_current

    if is_current(config.store.url):
        return
    from barrier.schema import upgrade

    upgrade(config.store.url)


def provision_token(config: Config) -> None:
    """Development: a SoftHSM token with its keys, made when it is not there."""
    from softhsm.provisioning import provision

    hsm = config.hsm
    provision(Path(hsm.softhsm_token_dir), label=hsm.token_label, pin_file=Path(hsm.pin_file), module=Path(hsm.module))
    _provisioned_mark(config).write_text(config.hsm.softhsm_token_dir)


def _provisioned_mark(config: Config) -> Path:
    """Written when the token was made in full; it lies beside the token."""
    return Path(config.hsm.softhsm_token_dir) / "provisioned"


def _is_provisioned(config: Config) -> bool:
    """And in this place: SoftHSM's configuration names the directory, also in one that was copied or moved."""
    mark = _provisioned_mark(config)
    return mark.exists() and mark.read_text() == config.hsm.softhsm_token_dir


def make_certificates(config: Config) -> None:
    """Development: an authority and a server certificate, made when they are not there."""
    from appliance.http.dev_certificates import make_dev_certificates

    for listener in config.listener:
        host, _ = listener.host_and_port
        make_dev_certificates(Path(listener.tls_cert).parent, host=host)


def steps_for(config: Config) -> list[str]:
    """The steps this configuration needs, as `module:function`."""
    steps = ["migrate_schema"]
    if config.development:
        if not _is_provisioned(config):
            steps.append("provision_token")
        if any(listener.tls_cert and not Path(listener.tls_cert).exists() for listener in config.listener):
            steps.append("make_certificates")
    return [f"{__name__}:{step}" for step in steps]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step in this process: `python -m appliance.processes.preparation MODULE:FUNCTION …`."""
    parser = argparse.ArgumentParser(prog="mimir-prepare")
    parser.add_argument("step")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--channel-fd", type=int, required=True)
    args = parser.parse_args(arguments)
    forbid_memory_images()
    die_with_parent(args.parent)
    config = read_config(args.config_fd)
    channel = ChildEnd(args.channel_fd)
    report = _run(args.step, config)
    if report is not None:
        channel.send(report)
    channel.close()
    return report.code if report else 0


def _run(name: str, config: Config) -> Report | None:
    module, _, function = name.partition(":")
    step: Step = getattr(import_module(module), function)
    try:
        step(config)
    except MimirError as exc:
        return failure(exc)
    except Exception as exc:  # noqa: BLE001 - the outermost frame of a process
        _log_failure(config, function, exc)
        return Report(kind="failed", text=f"internal error in {function}; see the log", code=EX_SOFTWARE)
    return None


def _log_failure(config: Config, step: str, exc: Exception) -> None:
    import structlog  # takes as long as a whole step

    from appliance.logging import code_path, configure_logging

    configure_logging(config.server.log_level, config.server.log_format, process="preparation")
    structlog.get_logger().critical(
        "preparation failed", step=step, exception=type(exc).__qualname__, where=code_path(exc)
    )


if __name__ == "__main__":
    raise SystemExit(main())

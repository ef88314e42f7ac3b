"""The configuration as `sys/config/state/sanitized` shows it: nothing of it is a secret or leads to one."""

from typing import Any

from appliance.config import Config
from appliance.system.node import SEAL_TYPE


def sanitized(config: Config) -> dict[str, Any]:
    """Vault's members. The store's URL is left out, since it may hold a password; so are the places of the PIN."""
    server = config.server
    storage = "sqlite" if config.store.url.startswith("sqlite") else "postgresql"
    return {
        "api_addr": server.api_addr,
        "cluster_addr": "",
        "cluster_name": server.cluster_name,
        "default_lease_ttl": 0,
        "max_lease_ttl": 0,
        "default_max_request_duration": int(server.request_timeout),
        "disable_cache": False,
        "disable_clustering": True,
        "disable_performance_standby": True,
        "disable_printable_check": False,
        "disable_sealwrap": True,
        "enable_ui": False,
        "listeners": [
            {
                "type": "unix" if listener.unix_path else "tcp",
                "config": {
                    "address": listener.unix_path or listener.address,
                    "tls_disable": not listener.tls_cert,
                    "tls_require_client_cert": False,
                },
            }
            for listener in config.listener
        ],
        "log_format": server.log_format,
        "log_level": server.log_level,
        "pid_file": "",
        "plugin_directory": "",
        "raw_storage_endpoint": False,
        "seals": [{"disabled": False, "type": SEAL_TYPE}],
        "storage": {"type": storage, "redirect_addr": server.api_addr, "cluster_addr": "", "disable_clustering": True},
        "workers": server.workers,
    }

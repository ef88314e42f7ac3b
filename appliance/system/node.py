"""What the sys/ engine may know of the node it runs on."""

from dataclasses import dataclass

# A server-side constant of Vault's API: what seals the barrier, as `sys/seal-status` names it.
SEAL_TYPE = "pkcs11"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """Constant while the process runs."""

    version: str  # semantic version, never empty: Terraform parses it
    storage_type: str  # "sqlite" or "postgresql"
    build_date: str = ""  # RFC 3339
    started_at: float = 0.0  # epoch seconds
    api_address: str = ""
    unauthenticated_ceremonies: bool = True  # whether sys/generate-root and sys/rekey are served

"""The bodies of transit's requests, as Vault's clients send them."""

import msgspec

from core.bodies import Duration
from transit.key_types import DEFAULT_TYPE


class CreateKeyBody(msgspec.Struct):
    """keys/<name>."""

    type: str = DEFAULT_TYPE
    derived: bool = False
    convergent_encryption: bool = False
    exportable: bool = False
    allow_plaintext_backup: bool = False
    auto_rotate_period: Duration = Duration(0)
    key_size: int = 0
    context: str = ""


class ConfigureKeyBody(msgspec.Struct):
    """keys/<name>/config; what is left out stays as it is."""

    min_decryption_version: int | None = None
    min_encryption_version: int | None = None
    deletion_allowed: bool | None = None
    exportable: bool = False
    allow_plaintext_backup: bool = False
    auto_rotate_period: Duration = Duration(0)


class BatchItem(msgspec.Struct):
    """One item of batch_input; which members count depends on the operation."""

    plaintext: str | None = None
    ciphertext: str | None = None
    associated_data: str | None = None
    key_version: int | None = None
    context: str | None = None
    nonce: str | None = None
    reference: str | None = None


class DataBody(msgspec.Struct):
    """encrypt, decrypt and rewrap; with `batch_input`, the members of a single item are ignored."""

    plaintext: str | None = None
    ciphertext: str | None = None
    associated_data: str | None = None
    key_version: int | None = None
    context: str | None = None
    nonce: str | None = None
    batch_input: list[BatchItem] | None = None
    partial_failure_response_code: int | None = None
    type: str = DEFAULT_TYPE
    convergent_encryption: bool = False

"""The server that secrets come from: its address, and a token that is not ours."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from client.errors import LocalError
from client.inputs import read_file, utf8
from client.session import Session
from client.token_file import load_token

if TYPE_CHECKING:
    from client.api import Client


def source_client(session: Session, options: dict[str, str]) -> "Client":
    """VAULT_* speak to the source alone, as MIMIR_* do to the target; no token ever goes to the other one."""
    flags = {"address": options["from_vault"]}
    for option, flag in (("source_namespace", "namespace"), ("source_ca_cert", "ca-cert")):
        if options[option]:
            flags[flag] = options[option]
    other = session.of_vault(flags)
    return replace(other.client(token=_token(other, options["source_token_file"])), wrap_ttl="")


def _token(session: Session, file: str) -> str:
    if file:
        token = utf8(read_file(file), what="token file").strip()
        if not token:
            raise LocalError(f"the token file {file!r} is empty")
        return token
    token, _ = session.environment_token()
    token = token or load_token(Path(session.home) / ".vault-token")
    return token or session.inputs.hidden("Token of the source", what="token of the source")

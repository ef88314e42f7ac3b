"""The command tree's root."""

import click

from client.framework import group

_SUMMARY = """\b
Mimir keeps keys and secrets for other programs.
\b
It speaks Vault's HTTP API. The address comes from --address, MIMIR_ADDR or
VAULT_ADDR; the token from MIMIR_TOKEN, VAULT_TOKEN or ~/.mimir-token, which
`mimir login` writes.
\b
Exit codes: 0 done; 1 refused, or failed on this side; 2 wrong usage (of
`mimir status` alone: sealed); 3 no answer; 4 the appliance cannot serve now;
130 interrupted; 141 the reader of the output went away.
"""

cli = group(
    "mimir",
    summary=_SUMMARY,
    lazy={
        "status": "client.commands.status:status",
        "login": "client.commands.login:login",
        "transit": "client.commands.transit:transit",
        "pki": "client.commands.pki:pki",
        "kv": "client.commands.kv:kv",
        "dynamic": "client.commands.dynamic:dynamic",
        "secret": "client.commands.secret:secret",
        "read": "client.commands.generic:read",
        "write": "client.commands.generic:write",
        "list": "client.commands.generic:list_",
        "delete": "client.commands.generic:delete",
        "path-help": "client.commands.generic:path_help",
        "token": "client.commands.token:token",
        "auth": "client.commands.auth:auth",
        "lease": "client.commands.lease:lease",
        "policy": "client.commands.policy:policy",
        "identity": "client.commands.identity:identity",
        "wrap": "client.commands.unwrap:wrap",
        "unwrap": "client.commands.unwrap:unwrap",
        "password-policy": "client.commands.password_policy:password_policy",
        "quota": "client.commands.quota:quota",
        "secrets": "client.commands.secrets:secrets",
        "namespace": "client.commands.namespace:namespace",
        "events": "client.commands.events:events",
        "audit": "client.commands.audit:audit",
        "operator": "client.commands.operator:operator",
        "hsm": "client.commands.hsm:hsm",
        "server": "client.commands.server:server",
        "completion": "client.commands.completion:completion",
        "version": "client.commands.version:version",
    },
    examples=(
        "mimir status",
        "mimir login",
        "mimir transit key create customer-data --type aes256-gcm96",
        "mimir -o json token lookup",
    ),
)


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from client.commands.version import installed_version
        from client.output import write_line

        write_line(f"mimir {installed_version()}")
        ctx.exit()


cli.params.append(
    click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="As `version`."
    )
)

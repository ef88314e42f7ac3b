"""`mimir dynamic …`: accounts on databases, made on demand or changed on schedule."""

from client.framework import group

_HERE = "client.commands.dynamic"
dynamic = group(
    "dynamic",
    summary="Get, try out, rotate and put in order the accounts that are made on databases.",
    lazy={
        "creds": f"{_HERE}_creds:creds",
        "static-creds": f"{_HERE}_creds:static_creds",
        "verify": f"{_HERE}_verify:verify",
        "reconcile": f"{_HERE}_reconcile:reconcile",
        "rotate-root": f"{_HERE}_rotate:rotate_root",
        "rotate-role": f"{_HERE}_rotate:rotate_role",
        "reset": f"{_HERE}_rotate:reset",
        "static-role": f"{_HERE}_static_role:static_role",
        "connections": f"{_HERE}_overview:connections",
        "roles": f"{_HERE}_overview:roles",
    },
    examples=(
        "mimir dynamic creds orders-api",
        "mimir dynamic verify orders-api",
        "mimir dynamic reconcile orders-db --apply",
    ),
)

"""`mimir kv …`: secrets of the key-value engine."""

from client.framework import group

_COMMANDS = "client.commands"
kv = group(
    "kv",
    summary="Store, read and look after secrets of the key-value engine.",
    lazy={name: f"{_COMMANDS}.kv_data:{name}" for name in ("get", "put", "patch", "rollback")}
    | {name: f"{_COMMANDS}.kv_versions:{name}" for name in ("delete", "undelete", "destroy", "enable", "disable")}
    | {"list": f"{_COMMANDS}.kv_list:list_", "diff": f"{_COMMANDS}.kv_diff:diff"}
    | {"metadata": f"{_COMMANDS}.kv_metadata:metadata"}
    | {"stage": f"{_COMMANDS}.kv_stage:stage", "promote": f"{_COMMANDS}.kv_stage:promote"}
    | {name: f"{_COMMANDS}.kv_insight:{name}" for name in ("report", "search")}
    | {"import": f"{_COMMANDS}.kv_import:import_", "export": f"{_COMMANDS}.kv_export:export"}
    | {"config": f"{_COMMANDS}.kv_mount:config", "enable-versioning": f"{_COMMANDS}.kv_mount:enable_versioning"},
    examples=(
        "mimir kv put secret/app password=@password.txt",
        "mimir kv get secret/app --field password",
        "mimir kv get -mount=secret app --version 2",
        "mimir kv report secret --no-owner",
    ),
)

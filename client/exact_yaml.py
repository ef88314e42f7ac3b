"""YAML of values whose numbers stay as they are written."""

from typing import Any

import yaml

from client.exact_json import Number


class _Dumper(yaml.SafeDumper):
    """As yaml's own, and knows `Number`."""


def _number(dumper: yaml.SafeDumper, number: Number) -> yaml.ScalarNode:
    kind = "int" if number.text.removeprefix("-").isdigit() else "float"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", number.text)


_Dumper.add_representer(Number, _number)


def dumps(value: Any) -> str:
    """Members keep the order in which they came."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return str(text).rstrip("\n")

"""The real application, which writes down what it has imported when it has started."""

import sys
from pathlib import Path

from appliance.composition import Node, Role
from appliance.config import Config


class ListingNode(Node):
    async def start(self) -> None:
        await super().start()
        (self._config.init_file.parent / f"modules-{self._role}").write_text("\n".join(sys.modules))


def compose(config: Config, *, role: Role, ring_path: Path) -> ListingNode:
    return ListingNode(config, role=role, ring_path=ring_path)

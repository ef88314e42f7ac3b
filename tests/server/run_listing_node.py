"""Runs the supervisor over the real application as `listing_application` has it: `run_listing_node.py CONFIG`."""

import sys
from pathlib import Path

from appliance.config import Config
from appliance.processes.supervisor import Parts, run

sys.exit(run(Config.decode(Path(sys.argv[1]).read_bytes()), Parts(application="listing_application:compose")))

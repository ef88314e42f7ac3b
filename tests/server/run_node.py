"""Runs the supervisor over the echo application: `run_node.py CONFIG [STEP …]`, as a test's child process."""

import sys
from pathlib import Path

from appliance.config import Config
from appliance.processes.supervisor import Parts, run

parts = Parts(
    application="echo_application:compose",
    ring="echo_application:FileRing",
    steps=lambda _: [f"echo_application:{step}" for step in sys.argv[2:]],
)
sys.exit(run(Config.decode(Path(sys.argv[1]).read_bytes()), parts))

"""`python -m tests.fuzz.rest [schemathesis' flags]`, from the root of the repository: the REST API of a running program
under what its own OpenAPI document allows, and under what it does not.

A request that the document
allows and the program refuses with 422 is no failure here: a name's characters and an address are checked more closely
than the document says.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import program
from torture.outside import is_ready, metrics, total

FLAGS = ("--exclude-checks", "positive_data_acceptance", "--max-examples", "100", "--no-color")


def main() -> int:
    """The exit code: not 0 where schemathesis found something, a thread had to be restarted, or nobody is ready."""
    with program.ephemeral("--clients", "3", UDPRISM_MAX_CLIENTS="50") as served:
        page = f"{served.page}/api/openapi.json"
        code = subprocess.run([sys.executable, "-m", "schemathesis.cli", "run", page, *FLAGS, *sys.argv[1:]]).returncode
        restarts = total(metrics(served), "thread_restarts_total")
        print(f"ready: {is_ready(served)}, thread restarts: {restarts}")
        return code or int(restarts > 0 or not is_ready(served))


if __name__ == "__main__":
    sys.exit(main())

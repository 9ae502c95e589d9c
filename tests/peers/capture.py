"""What real senders send: `python -m tests.peers.capture [SCENARIO…]`, as root, from the root of the repository.

Installs the pinned senders into a temporary folder, runs each scenario (all, if none is named) between two network
namespaces, and writes the golden vectors of `tests/golden/senders`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from peers.golden import Caught, write
from peers.hosts import DEADLINE_S, RECEIVER, Hosts, two_hosts
from peers.scenarios import HOME_ASSISTANT, LEDFX, LEDFX_WHOLE, NPM, PIP, SCENARIOS, Scenario

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
INSTALL_S = 600


class Interpreters(NamedTuple):
    """What runs the scripts. Each is installed when it is first asked for."""

    folder: Path

    def command(self, script: str) -> list[str]:
        """The beginning of a command line."""
        path = str(SCRIPTS / script)
        if script.endswith(".sh"):
            return ["bash", path]
        if script.endswith(".js"):
            return ["env", f"NODE_PATH={self._npm()}", "node", path]
        by_program = {"ledfx": LEDFX, "ledfxwhole": LEDFX_WHOLE, "home": HOME_ASSISTANT}
        return [str(self.python(by_program.get(script.partition("_")[0], PIP))), path]

    def python(self, packages: tuple[str, ...]) -> Path:
        """A virtual environment with these."""
        folder = self.folder / f"{packages[0].partition('=')[0]}-{len(packages)}"
        python = folder / "bin" / "python"
        if not (folder / "done").exists():
            _run(sys.executable, "-m", "venv", "--clear", str(folder))
            _run(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)
            (folder / "done").touch()
        return python

    def _npm(self) -> Path:
        folder = self.folder / "npm"
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            _run("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", *NPM)
            (folder / "done").touch()
        return folder / "node_modules"


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def catch(hosts: Hosts, interpreters: Interpreters, scenario: Scenario) -> list[Caught]:
    """What the scenario's sender, run on one host, sends to the other."""
    asked = {"ports": scenario.ports, "address": RECEIVER, "groups": scenario.groups, "node": scenario.node}
    words = hosts.receiver.command(sys.executable, str(HERE / "collect.py"), json.dumps(asked))
    command = [*interpreters.command(scenario.script), RECEIVER, *scenario.words]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as collector:
        assert collector.stdin is not None
        assert collector.stdout is not None
        try:
            assert collector.stdout.readline() == "ready\n"
            done = subprocess.run(
                hosts.sender.command(*command), capture_output=True, text=True, timeout=DEADLINE_S, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            collector.stdin.close()
            found = json.loads(collector.stdout.read())
        finally:
            collector.kill()
    return [Caught(at_ns, port, bytes.fromhex(data)) for at_ns, port, _, data in found]


def main() -> None:
    names = sys.argv[1:] or [scenario.name for scenario in SCENARIOS]
    with two_hosts() as hosts, tempfile.TemporaryDirectory() as folder:
        interpreters = Interpreters(Path(folder))
        for scenario in SCENARIOS:
            if scenario.name in names:
                caught = catch(hosts, interpreters, scenario)
                write(scenario, caught)
                print(f"{scenario.name}: {len(caught)} datagrams")


if __name__ == "__main__":
    main()

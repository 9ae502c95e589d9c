"""What the bench runs beside the product, on the same machine and in the same minutes: see `kernel_limit.c` and
`usual_stack`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from udprism.wire import measured as wire

KERNEL_LIMIT = Path(__file__).with_name("kernel_limit.c")
USUAL_STACK = "udprism.cli.baselines.usual_stack"


def kernel_limit(clients: int, rate_hz: float | None, seconds: float) -> dict[str, Any]:
    """Figures of the C program. Raises: RuntimeError, OSError or subprocess.SubprocessError if it cannot run here."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("there is no C compiler")
    with tempfile.TemporaryDirectory() as directory:
        program = str(Path(directory) / "kernel_limit")
        subprocess.run([compiler, "-O2", "-pthread", "-o", program, str(KERNEL_LIMIT)], check=True)
        command = [program, str(clients), str(seconds), str(wire.HEADER_BYTES + 3)]
        return _figures([*command, *([str(clients * rate_hz)] if rate_hz else [])])


def usual_stack(clients: int, rate_hz: float | None, seconds: float) -> dict[str, Any]:
    """Figures of the usual stack. Raises: OSError, subprocess.SubprocessError or ValueError if it breaks down."""
    command = [sys.executable, "-m", USUAL_STACK, "--clients", str(clients), "--seconds", str(seconds)]
    return _figures([*command, *(["--rate-hz", str(rate_hz)] if rate_hz else []), "--json", "--leashed"])


def _figures(command: list[str]) -> dict[str, Any]:
    """What a program prints. It ends with this one: nothing is ever written to its standard input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            printed = process.stdout.read()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, Path(command[0]).name)
    figures: dict[str, Any] = json.loads(printed)
    return figures

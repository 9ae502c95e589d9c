"""`python -m tests.fuzz {command,datagram,batch,capture} [libFuzzer's flags]`, from the root of the repository.

Coverage-guided, and so needs atheris, which nothing else does: `pip install atheris` (Linux, Python 3.11 or newer).
What it finds worth keeping goes to a directory of its own, `tests/fuzz/found/NAME`; add to the corpus what covers new
code (`-merge=1 tests/fuzz/corpus/NAME tests/fuzz/found/NAME`). `-atheris_runs=1000000` ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=["udprism"]):
        from fuzz.harness import HARNESSES
    found = HERE / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    directories = [] if "-merge=1" in flags else [str(found), str(HERE / "corpus" / name)]
    atheris.Setup([sys.argv[0], f"-artifact_prefix={found}/", *flags, *directories], HARNESSES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

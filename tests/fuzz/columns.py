"""`python -m tests.fuzz.columns [RUNS [SEED]]`, from the root of the repository: so many hostile datagrams of each
format, a million if not told, in columns, and a hundredth of them one by one against the plain decoders."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.formats import run

if __name__ == "__main__":
    run(*map(int, sys.argv[1:] or ("1000000",)))

"""`python -m udprism` and the `udprism` command."""

from __future__ import annotations

import sys
import traceback

from udprism.errors import BindError, UdprismError

EXIT_USAGE = 2
EXIT_CANNOT_BIND = 3
EXIT_BUG = 70


def main() -> None:
    """Run the command line; exits with 0, 2 (usage), 3 (cannot bind) or 70 (a bug)."""
    try:
        from udprism.cli import app

        app()
    except BindError as error:
        print(f"udprism: {error}", file=sys.stderr)
        sys.exit(EXIT_CANNOT_BIND)
    except UdprismError as error:
        print(f"udprism: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    except Exception:  # noqa: BLE001  # the one place where a bug may end: told whole, with an exit code of its own
        traceback.print_exc()
        print("udprism: this is a bug; please report it with the lines above", file=sys.stderr)
        sys.exit(EXIT_BUG)


if __name__ == "__main__":
    main()

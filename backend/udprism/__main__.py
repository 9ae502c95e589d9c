"""`python -m udprism` and the `udprism` command."""

from __future__ import annotations

import errno
import sys
import traceback

from udprism.errors import BindError, UdprismError

EXIT_USAGE = 2
EXIT_CANNOT_BIND = 3
EXIT_BUG = 70
EXIT_SYSTEM = 74
"""What this system could not do, such as writing the output (sysexits.h: EX_IOERR)."""

_NOT_OUR_FAULT = frozenset(
    {
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        errno.EDQUOT,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)
"""A limit, a right, a disk or a network: nothing that a change of the program would mend."""


def main() -> None:
    """Run the command line.

    Exits with 0, 2 (usage), 3 (cannot bind), 70 (a bug), 74 (the system refused), or what the subcommand says.
    """
    code = _run()
    from udprism.cli import output

    sys.stdout.flush()
    error = output.lost()
    if error is not None and error.errno != errno.EPIPE:
        code = code or EXIT_SYSTEM
    sys.exit(code)


def _run() -> int | str | None:
    try:
        from udprism.cli import app, output

        output.prepare()
        app()
    except SystemExit as end:
        return end.code
    except BindError as error:
        print(f"udprism: {error}", file=sys.stderr)
        return EXIT_CANNOT_BIND
    except UdprismError as error:
        print(f"udprism: {error}", file=sys.stderr)
        return EXIT_USAGE
    except MemoryError:
        print("udprism: not enough memory", file=sys.stderr)
        return EXIT_SYSTEM
    except Exception as error:  # noqa: BLE001  # the one place where a bug may end: reported in full, with its own exit code
        if isinstance(error, OSError) and error.errno in _NOT_OUR_FAULT:
            print(f"udprism: {error}", file=sys.stderr)
            return EXIT_SYSTEM
        traceback.print_exc()
        print("udprism: this is a bug; please report it with the lines above", file=sys.stderr)
        return EXIT_BUG
    return 0


if __name__ == "__main__":
    main()

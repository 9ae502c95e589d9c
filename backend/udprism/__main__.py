"""`python -m udprism` and the `udprism` command."""


def main() -> None:
    """Run the command line; exits with 0, 2 (usage), 3 (cannot bind) or 70 (a bug)."""
    from udprism.cli import app

    app()


if __name__ == "__main__":
    main()

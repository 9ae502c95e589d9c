"""Flags of the command line as settings: each also an environment variable, the flag wins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer
from pydantic import ValidationError
from typer.models import OptionInfo

from udprism.errors import UdprismError
from udprism.settings import Settings


def flag(setting: str) -> OptionInfo:
    """The option for one field of Settings: its words, its default and its variable come from there."""
    field = Settings.model_fields[setting]
    value = field.get_default(call_default_factory=True, validated_data={})
    default = "" if value in (None, False, []) else f" [default: {value}]"
    name = "--" + setting.replace("_", "-")
    option: OptionInfo = typer.Option(name, help=f"{field.description}{default} [env: {variable(setting)}]")
    return option


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return f"UDPRISM_{setting.upper()}"


def read_settings(**given: object) -> Settings:
    """Settings from the environment and from those flags that were given (None: not given).

    Raises: typer.BadParameter, which names the flag and the variable of each wrong value.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = []
        for one in error.errors():
            if one["type"] == "default_factory_not_called":  # a default that depends on what is wrong already
                continue
            setting = str(one["loc"][0])
            reason = one["msg"].removeprefix("Value error, ")
            wrong.append(f"--{setting.replace('_', '-')} ({variable(setting)}) {one['input']!r}: {reason}")
        raise typer.BadParameter("; ".join(wrong)) from None


def user_data_directory() -> Path:
    """Where this user's programs keep their data, by the custom of the system.

    Raises: UdprismError for a user without a home, if no variable names the place.
    """
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "udprism"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "udprism"
    given = os.environ.get("XDG_DATA_HOME", "")  # XDG Base Directory: one that is not absolute is ignored
    return (Path(given) if os.path.isabs(given) else _home() / ".local" / "share") / "udprism"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise UdprismError(
            "this user has no home directory: name one with --data DIR, or keep nothing with --ephemeral"
        ) from None

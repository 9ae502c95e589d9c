"""Flags are settings: the flag wins over the environment, and what is wrong is named."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import udprism
from udprism import __main__
from udprism.cli import app, flags
from udprism.errors import BindError, StoreError, UdprismError
from udprism.settings import Settings


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDPRISM_RATE_HZ", "20")
    monkeypatch.setenv("UDPRISM_CLIENTS", "7")
    settings = flags.read_settings(rate_hz=40.0, clients=None)
    assert (settings.rate_hz, settings.clients, settings.engine) == (40.0, 7, "batch")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"clients": -1}, "--clients (UDPRISM_CLIENTS) -1"),
        ({"udp": "12345"}, "--udp (UDPRISM_UDP) '12345': expected HOST:PORT"),
        ({"rate_hz": 5000.0}, "--rate-hz (UDPRISM_RATE_HZ) 5000.0"),
        ({"allow_target": ["10.0.0.1/8"]}, "--allow-target (UDPRISM_ALLOW_TARGET) '10.0.0.1/8'"),
        ({"http": "*:8000"}, "--http (UDPRISM_HTTP) '*:8000': for all addresses write 0.0.0.0:8000"),
        ({"udp": "*:12345"}, "--udp (UDPRISM_UDP) '*:12345': for all addresses write 0.0.0.0:12345"),
        ({"allow_host": ["lab.example:8000"]}, "--allow-host (UDPRISM_ALLOW_HOST) 'lab.example:8000'"),
        ({"allow_host": ["https://lab.example"]}, "--allow-host (UDPRISM_ALLOW_HOST) 'https://lab.example'"),
        ({"allow_host": ["*.lab.example"]}, "--allow-host (UDPRISM_ALLOW_HOST) '*.lab.example'"),
        ({"allow_host": ["lab example"]}, "--allow-host (UDPRISM_ALLOW_HOST) 'lab example'"),
        ({"allow_origin": ["lab.example"]}, "--allow-origin (UDPRISM_ALLOW_ORIGIN) 'lab.example'"),
        ({"allow_origin": ["https://lab.example/lab"]}, "--allow-origin (UDPRISM_ALLOW_ORIGIN)"),
        ({"http_path": "lab"}, "--http-path (UDPRISM_HTTP_PATH) 'lab': expected a path"),
        ({"data": "~nobody-of-this-name/x"}, "--data (UDPRISM_DATA) '~nobody-of-this-name/x'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_flag_and_its_variable(given: dict[str, object], named: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        flags.read_settings(**given)
    assert named in refused.value.message


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Lab.Example", "lab.example"),
        ("lab.example.", "lab.example"),
        ("bücher.example", "xn--bcher-kva.example"),  # as browsers write it into Host
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.168.1.5", "192.168.1.5"),
        ("my_machine", "my_machine"),
    ],
)
def test_a_host_is_kept_as_browsers_write_it(given: str, kept: str) -> None:
    assert flags.read_settings(allow_host=[given]).allow_host == [kept]


def test_a_home_directory_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert flags.read_settings(data=Path("~/x")).data == tmp_path / "x"
    monkeypatch.setenv("UDPRISM_DATA", "~/y")
    assert flags.read_settings().data == tmp_path / "y"


def test_an_empty_variable_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(flags.variable(name), "")
    assert flags.read_settings() == Settings()
    assert flags.read_settings().clients == 10


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(typer.BadParameter) as refused:
        flags.read_settings(clients=-1, udp="x")
    assert "--clients" in refused.value.message
    assert "--udp" in refused.value.message


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "{}/udprism"),
        ("win32", "LOCALAPPDATA", "{}/udprism"),
    ],
)
def test_the_data_directory_follows_the_systems_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variable: str, expected: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert str(flags.user_data_directory()) == expected.format(tmp_path)


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ".local/share/udprism"),
        ("darwin", "Library/Application Support/udprism"),
        ("win32", "AppData/Local/udprism"),
    ],
)
def test_the_data_directory_lies_in_the_home_where_no_variable_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, expected: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert flags.user_data_directory() == tmp_path / expected


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_variable_is_enough_where_there_is_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert flags.user_data_directory() == tmp_path / "udprism"


@pytest.mark.parametrize("given", [None, "", "relative/path"])
def test_without_home_and_variable_the_flags_that_help_are_named(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_DATA_HOME", given)
    with pytest.raises(UdprismError, match=r"--data DIR, .*--ephemeral"):
        flags.user_data_directory()


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"udprism {udprism.__version__}\n")


def test_no_arguments_print_the_help_and_are_a_usage_error() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Usage: udprism" in result.output


@pytest.mark.parametrize("command", ["serve", "server", "doctor"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--udp", "nonsense"), "--udp"),
        (("--udp", "127.0.0.1:70000"), "--udp"),
        (("--no-such-flag",), "--no-such-flag"),
        (("--udp",), "--udp"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_flag(command: str, words: tuple[str, ...], named: str) -> None:
    result = CliRunner().invoke(app, [command, *words])
    assert result.exit_code == 2
    assert named in result.output


@pytest.mark.parametrize(
    "words", [("--rate-hz", "0"), ("--engine", "steam"), ("--clients", "many"), ("--http", ":8000"), ("surplus",)]
)
def test_wrong_usage_of_serve_starts_nothing(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["serve", *words])
    assert result.exit_code == 2
    assert words[0] in result.output
    assert "page" not in result.output


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (BindError("cannot bind UDP 127.0.0.1:12345: Address already in use"), 3, 1),
        (StoreError("/data is in use by another udprism"), 2, 1),
        (ZeroDivisionError("a bug"), 70, 4),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data"), 74, 1),
        (OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)), 74, 1),
        (OSError(errno.EBADF, "a bug of ours"), 70, 4),
    ],
)
def test_an_error_ends_with_its_exit_code_and_one_line_unless_it_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int, lines: int
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("udprism.cli.app", fail)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert str(error) in said
    assert ("Traceback" in said) == (code == 70)
    assert len(said.splitlines()) == lines or code == 70


def test_a_subcommand_imports_no_other() -> None:
    """`udprism client` in a script starts in half the time."""
    code = (
        "import sys; from udprism.cli import app\n"
        "try: app(['client', '--help'])\n"
        "except SystemExit: pass\n"
        "seldom = ('udprism.cli.bench', 'udprism.web', 'fastapi')\n"
        "print('\\n' + ' '.join(name for name in seldom if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1] == ""


def test_a_mistaken_subcommand_is_corrected() -> None:
    ended = subprocess.run([sys.executable, "-m", "udprism", "serv"], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "Did you mean 'serve', 'server'?" in ended.stderr

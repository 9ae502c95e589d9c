"""`udprism run`: a table, a verdict, and an exit code that tells it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.program import COMMAND, DEADLINE_S, judged, run
from udprism import __version__
from udprism.cli.scenario import table
from udprism.node.play import shipped, verdict
from udprism.node.scenario import MEASURES, Scenario, evaluate

SHORT = """
clients = 3
rate_hz = 50
duration_s = 1.5
expect = [{expect}]
timeline = [{{ at_s = 0, link = {{ loss_ratio = 0.2, delay_ms = 20 }} }}]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    return tmp_path / "scenario.toml"


def write(path: Path, *expectations: str) -> str:
    path.write_text(SHORT.format(expect=", ".join(f'"{one}"' for one in expectations)))
    return str(path)


def test_met_expectations_end_with_zero_and_say_so(scenario: Path) -> None:
    done = judged(write(scenario, "received > 0", "min_delay_ms >= 20", "lost > 0"))
    assert done.returncode == 0, done.stderr
    assert "All 3 expectations are met." in done.stdout
    assert "client-003" in done.stdout


def test_the_environment_of_a_server_with_a_thread_a_client_is_no_hindrance(scenario: Path) -> None:
    done = judged(write(scenario, "received > 0", "lost > 0", "min_delay_ms >= 20"), UDPRISM_ENGINE="threads")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_with_a_byte_order_mark_is_read(scenario: Path) -> None:
    name = write(scenario, "received > 0")
    scenario.write_text(scenario.read_text(), encoding="utf-8-sig")
    done = judged(name)
    assert done.returncode == 0, done.stderr


def test_a_failed_expectation_ends_with_one_and_names_it(scenario: Path) -> None:
    done = judged(write(scenario, "received > 0", "lost == 0"))
    assert done.returncode == 1, done.stderr
    assert "NOT met  lost == 0" in done.stdout
    assert "1 of 2 expectations failed." in done.stdout


def test_progress_goes_to_standard_error_and_json_alone_to_standard_output(scenario: Path) -> None:
    done = judged(write(scenario, "loss_ratio < 0.9"), "--json")
    assert "3 x 50/s" in done.stderr
    assert "link for all" in done.stderr
    result = json.loads(done.stdout)
    assert result["met"] is True
    assert result["expectations"][0]["met"] is True
    for row in (result["all"], *result["clients"].values()):
        assert row["sent"] == row["received"] + row["lost"] + row["in_flight"]
    assert sum(row["sent"] for row in result["clients"].values()) == result["all"]["sent"] > 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("duration_s = 1\nclients = -3", ["clients", "whole number"]),
        ("duration_s = 1\ntimeline = [{at_s = 0, link = {loss_ratio = 3}}]", ["timeline[0].link.loss_ratio", "0 to 1"]),
        ("duration_s =", ["not TOML"]),
    ],
)
def test_a_wrong_scenario_ends_with_two_and_names_the_place(scenario: Path, text: str, told: list[str]) -> None:
    scenario.write_text(text)
    done = run("run", str(scenario))
    assert done.returncode == 2
    assert done.stdout == ""
    for words in [str(scenario), *told]:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_is_one_file_with_settings_verdicts_and_pictures(scenario: Path) -> None:
    path = scenario.with_suffix(".html")
    done = judged(write(scenario, "received > 0", "min_delay_ms >= 20"), "--report", str(path))
    assert done.returncode == 0, done.stderr
    text = path.read_text()
    for words in (
        "All 2 expectations are met.",
        "<td>Seed</td><td>0</td>",
        __version__,
        "client-003",
        "&quot;loss_ratio&quot;: 0.2",
    ):
        assert words in text
    assert text.count("<svg") == 4
    assert not re.search(r"(src|href)=", text), "it asks for nothing from anywhere"


def test_a_report_that_cannot_be_written_ends_with_two(scenario: Path) -> None:
    done = judged(write(scenario, "received > 0"), "--report", str(scenario.parent / "nowhere" / "x.html"))
    assert done.returncode == 2
    assert "cannot write" in done.stderr


def test_a_file_that_is_not_there_ends_with_two() -> None:
    done = run("run", "nowhere.toml")
    assert done.returncode == 2
    assert "cannot read nowhere.toml" in done.stderr


def test_ctrl_c_ends_it_without_a_verdict(scenario: Path) -> None:
    scenario.write_text("duration_s = 600\n[[timeline]]\nat_s = 0.1\nlink = {}")
    process = subprocess.Popen([*COMMAND, "run", str(scenario)], stdout=-1, stderr=-1, text=True)
    with process:
        assert process.stderr is not None
        while "link for all" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert output == ""
    assert "no verdict" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops the process")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_verdict_over_a_schedule_that_was_not_kept_is_void(scenario: Path, as_json: bool) -> None:
    scenario.write_text(
        'duration_s = 3\nrate_hz = 50\nexpect = ["received > 0", "lost > 1e9"]\n[[timeline]]\nat_s = 0.5\nlink = {}'
    )
    command = [*COMMAND, "run", str(scenario), *(["--json"] if as_json else [])]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        assert process.stderr is not None
        while "link for all" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # the fault itself: the machine gives it no time
        process.send_signal(signal.SIGCONT)
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4, output + errors
    assert re.search(r"the sender kept \d\d% of its schedule: no verdict", errors)
    if as_json:
        result = json.loads(output)
        assert result["met"] is None
        assert {one["met"] for one in result["expectations"]} == {None}
        assert 0.2 < result["schedule_kept_ratio"] < 0.9
    else:
        assert output.count("void  ") == 2
        assert "met" not in output.replace("expectations", "")


def test_the_shipped_scenarios_are_valid_and_expect_something() -> None:
    texts = shipped()
    assert set(texts) == {"bufferbloat", "lossy-wifi", "tunnel"}
    for text in texts.values():
        assert Scenario.from_toml(text).expectations


def test_the_table_shows_those_named_first_and_at_most_ten() -> None:
    plan = Scenario.from_toml('duration_s = 1\nclients = 30\nexpect = ["lost of client-030 == 0"]')
    row: dict[str, float | None] = dict.fromkeys(MEASURES, 0.0)
    results = {name: {**row, "loss_ratio": place / 100} for place, name in enumerate(plan.clients)}
    results["all"] = {**row, "loss_ratio": None}
    lines = table(plan, results, evaluate(plan, results)).splitlines()
    assert lines[1].split()[0] == "all"
    assert "unknown" in lines[1]
    assert lines[2].split()[0] == "client-030"
    assert sum(line.startswith("client-") for line in lines) == 10
    assert any("20 more" in line for line in lines)
    assert list(verdict(plan, results, [])["clients"]) == list(plan.clients)

"""What real senders do: of the golden vectors always, of the senders themselves where they can be run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peers.capture import Interpreters, catch
from peers.facts import FACTS, Seen
from peers.golden import FOLDER, read
from peers.hosts import Hosts
from peers.scenarios import SCENARIOS, Scenario

FORMATS_PAGE = Path(__file__).parents[2] / "backend" / "FORMATS.md"
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_captured_sender_does_what_is_said_of_it(name: str) -> None:
    FACTS[name](Seen(BY_NAME[name].format, read(name)))


def test_every_golden_vector_belongs_to_a_scenario() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(BY_NAME)


def test_the_page_has_a_row_for_each_scenario_and_no_other() -> None:
    text = FORMATS_PAGE.read_text()
    named = set(re.findall(r"`((?:[a-z0-9]+-)+[a-z0-9]+)`(?=[,. |])", "\n".join(re.findall(r"^\|.*\|$", text, re.M))))
    assert named & set(BY_NAME) == set(BY_NAME), set(BY_NAME) - named
    for scenario in SCENARIOS:
        assert scenario.sender in text, scenario.sender


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_sender_itself_does_what_is_said_of_it(
    hosts: Hosts, interpreters: Interpreters, scenario: Scenario
) -> None:
    FACTS[scenario.name](Seen(scenario.format, catch(hosts, interpreters, scenario)))

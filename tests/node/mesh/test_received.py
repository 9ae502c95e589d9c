"""A command is done once or never, and says which: a state machine over a network that loses, doubles and delays."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from udprism.node.mesh.received import KEPT_S, MAX_COMMANDS, MAX_REPLIES, Received, Reply

DONE = Reply(200, "application/json", b"{}")
ids = st.integers(0, 4).map(lambda number: f"command-{number}")


class Network(RuleBasedStateMachine):
    """One node, its store, and messages to it that may come late, twice, or after its restart."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, Reply | None] = {}
        self.instance = 0
        self.received = Received({}, 0.0)
        self.on_the_way: list[tuple[str, str, int]] = []
        self.running: list[str] = []
        self.executed: Counter[str] = Counter()
        self.told: dict[str, str] = {}

    @rule(id=ids)
    def sends(self, id: str) -> None:
        """A sender uses an id no more once it has heard that it is done or never."""
        if id in self.told:
            return
        self.on_the_way.append(("do", id, self.instance))

    @rule(id=ids)
    def cancels(self, id: str) -> None:
        self.on_the_way.append(("cancel", id, self.instance))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), twice=st.booleans())
    def arrives(self, data: st.DataObject, twice: bool) -> None:
        place = data.draw(st.integers(0, len(self.on_the_way) - 1))
        kind, id, instance = self.on_the_way[place] if twice else self.on_the_way.pop(place)
        if kind == "cancel":
            self.hears(id, self.received.cancel(id, 1.0))
        elif instance == self.instance:
            standing = self.received.begin(id, 1.0)
            if standing == "new":
                self.running.append(id)
            else:
                self.hears(id, standing)

    def hears(self, id: str, standing: str) -> None:
        if standing in ("done", "never"):
            assert self.told.get(id, standing) == standing  # what was said once holds
            self.told[id] = standing

    @precondition(lambda self: self.running)
    @rule()
    def changes(self) -> None:
        """The change and its id, in one transaction; the answer after it."""
        id = self.running.pop(0)
        self.executed[id] += 1
        self.stored[id] = None
        self.received.finish(id, DONE)

    @precondition(lambda self: self.on_the_way)
    @rule()
    def loses(self) -> None:
        self.on_the_way.pop()

    @rule()
    def dies_and_restarts(self) -> None:
        """What had not been committed is undone with it."""
        self.running = []
        self.instance += 1
        self.received = Received(self.stored, 0.0)

    @invariant()
    def nothing_was_done_twice_or_lied_about(self) -> None:
        assert all(count == 1 for count in self.executed.values())
        for id, standing in self.told.items():
            assert (standing == "done") == (id in self.executed)


Network.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestNetwork = Network.TestCase


def test_a_full_table_refuses_and_lets_the_old_ones_go_in_time() -> None:
    received = Received({}, 0.0)
    for number in range(MAX_COMMANDS):
        assert received.begin(f"command-{number}", 0.0) == "new"
        received.finish(f"command-{number}", DONE)
    assert received.begin("one more 12", 1.0) == "full"
    assert received.begin("command-0", 1.0) == "done"
    assert received.begin("one more 12", KEPT_S + 1) == "new"
    assert len(received) == 1


def test_of_many_commands_the_newest_answers_are_kept_and_of_all_that_they_were_done() -> None:
    received = Received({}, 0.0)
    for number in range(MAX_REPLIES + 1):
        received.begin(f"command-{number}", 0.0)
        received.finish(f"command-{number}", DONE)
    assert received.begin("command-0", 1.0) == "done"
    assert received.reply("command-0") is None
    assert received.reply(f"command-{MAX_REPLIES}") == DONE

"""Who has which link: a flow's own, its owner's, or the default; and the model does what the book says."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from udprism.link.book import LinkBook
from udprism.link.link import Link
from udprism.link.model import LinkModel

CAPACITY = 6
OWNERS = ("a", "b", "c")
LINKS = (None, Link(), *(Link(delay_ms=ms) for ms in (1, 2, 3)))
links = st.sampled_from(LINKS)


class BookMachine(RuleBasedStateMachine):
    """Beside it, the plainest book: what each flow is, asked from scratch."""

    def __init__(self) -> None:
        super().__init__()
        self.model = LinkModel(CAPACITY)
        self.book = LinkBook(self.model, CAPACITY)
        self.flows: dict[int, str | None] = {}
        self.default: Link | None = None
        self.of_owner: dict[str, Link] = {}
        self.of_slot: dict[int, Link] = {}

    @rule(owner=st.sampled_from((None, *OWNERS)), slot=st.integers(0, CAPACITY - 1))
    def begins_or_changes_owner(self, owner: str | None, slot: int) -> None:
        if slot in self.flows:
            self.book.owner_is(slot, owner)
        else:
            self.book.begin(slot, owner, 100 + slot, 20, 28)
        self.flows[slot] = owner

    @precondition(lambda self: self.flows)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.flows)))
        self.book.end(slot)
        del self.flows[slot]
        self.of_slot.pop(slot, None)

    @rule(link=links)
    def default_changes(self, link: Link | None) -> None:
        self.book.put_default(link)
        self.default = link

    @rule(changes=st.dictionaries(st.sampled_from(OWNERS), links))
    def owners_change(self, changes: dict[str, Link | None]) -> None:
        self.book.put_owners(changes)
        self.of_owner = {one: its for one, its in (self.of_owner | changes).items() if its is not None}

    @precondition(lambda self: self.flows)
    @rule(data=st.data(), link=links)
    def a_flow_gets_its_own(self, data: st.DataObject, link: Link | None) -> None:
        slot = data.draw(st.sampled_from(sorted(self.flows)))
        self.book.put_slot(slot, link)
        self.of_slot.pop(slot, None)
        if link is not None:
            self.of_slot[slot] = link

    @rule()
    def all_are_cleared(self) -> None:
        self.book.clear()
        self.default, self.of_owner, self.of_slot = None, {}, {}

    @invariant()
    def the_model_does_what_the_book_says(self) -> None:
        assert (self.book.default, self.book.of_owner, self.book.of_slot) == (self.default, self.of_owner, self.of_slot)
        delays_ms = []
        for slot in range(CAPACITY):
            link = None
            if slot in self.flows:
                own = self.of_slot.get(slot) or self.of_owner.get(self.flows[slot] or "")
                link = own or self.default
                assert self.book.own_of(slot) == own
            delays_ms.append(0.0 if link is None else link.delay_ms)
        everybody = np.arange(CAPACITY, dtype=np.int32)
        verdict = self.model.judge(everybody, np.zeros(CAPACITY, np.int64), np.full(CAPACITY, 23, np.int32), 0)
        assert (verdict.release_ns / 1e6).tolist() == delays_ms
        assert self.model.active == any(delays_ms)
        assert self.book.owned == sum(owner is not None for owner in self.flows.values())


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_what_others_may_read_is_replaced_and_never_changed() -> None:
    book = LinkBook(LinkModel(2), 2)
    book.begin(0, "a", 1, 20, 28)
    before = book.of_owner, book.of_slot, book.version
    book.put_owners({"a": Link(delay_ms=1)})
    book.put_slot(0, Link(delay_ms=2))
    assert before == ({}, {}, 0)
    assert book.version == 2


def test_a_link_for_ten_thousand_flows_takes_milliseconds() -> None:
    flows = 10_000
    book = LinkBook(LinkModel(flows), flows)
    for slot in range(flows):
        book.begin(slot, f"c-{slot}", slot, 20, 28)
    began_s = time.thread_time()
    book.put_default(Link(delay_ms=50, jitter_ms=10, loss_ratio=0.02))
    assert time.thread_time() - began_s < 0.05
    some = [Link(delay_ms=ms) for ms in range(1, 11)]
    changes = {f"c-{slot}": some[slot % 10] for slot in range(0, flows, 2)}
    began_s = time.thread_time()
    book.put_owners(changes)
    assert time.thread_time() - began_s < 0.1


def book_of(*owners: str | None) -> LinkBook:
    book = LinkBook(LinkModel(CAPACITY), CAPACITY)
    for slot, owner in enumerate(owners):
        book.begin(slot, owner, 100 + slot, 20, 28)
    return book


def delays_ms(book: LinkBook) -> list[int]:
    return [ns // 1_000_000 for ns in book.model.delay_ns(np.arange(3, dtype=np.int32)).tolist()]


def test_a_flow_s_own_link_goes_before_its_owner_s_and_that_before_the_default() -> None:
    book = book_of("a", "a", None)
    book.put_default(Link(delay_ms=1))
    book.put_owners({"a": Link(delay_ms=2), "b": Link(delay_ms=9)})
    book.put_slot(0, Link(delay_ms=3))
    assert (delays_ms(book), book.owned) == ([3, 2, 1], 2)
    book.put_owners({"a": None})
    assert (delays_ms(book), dict(book.of_owner)) == ([3, 1, 1], {"b": Link(delay_ms=9)})
    book.put_slot(0, None)
    assert delays_ms(book) == [1, 1, 1]
    assert book.version == 5


def test_a_slot_that_ends_gives_up_its_link_and_its_owner() -> None:
    book = book_of("a", "a", None)
    book.put_owners({"a": Link(delay_ms=2)})
    book.put_slot(0, Link(delay_ms=3))
    book.end(0)
    assert (delays_ms(book), dict(book.of_slot), book.owned) == ([0, 2, 0], {}, 1)
    book.begin(0, None, 7, 20, 28)
    assert delays_ms(book) == [0, 2, 0]
    book.end(1)
    book.end(2)
    assert (delays_ms(book), book.owned) == ([0, 0, 0], 0)


def test_an_address_that_another_client_got_has_that_one_s_link() -> None:
    book = book_of("a", None)
    book.put_owners({"a": Link(delay_ms=2), "b": Link(delay_ms=4)})
    book.owner_is(0, "a")
    book.owner_is(1, "b")
    assert delays_ms(book) == [2, 4, 0]
    book.owner_is(0, None)
    assert delays_ms(book) == [0, 4, 0]


def test_clearing_leaves_no_link_to_anybody() -> None:
    book = book_of("a", "b", None)
    book.put_default(Link(delay_ms=1))
    book.put_owners({"a": Link(delay_ms=2)})
    book.put_slot(1, Link(delay_ms=3))
    book.clear()
    assert delays_ms(book) == [0, 0, 0]
    assert (book.default, dict(book.of_owner), dict(book.of_slot), book.own_of(0)) == (None, {}, {}, None)


def test_a_book_without_links_leaves_the_model_asleep() -> None:
    book = book_of("a")
    book.put_default(Link(seed=5))
    book.end(0)
    assert not book.model.active


def test_an_owned_slot_is_one_until_its_flow_ends_or_belongs_to_nobody() -> None:
    book = LinkBook(LinkModel(CAPACITY), CAPACITY)
    book.begin(0, "a", 100, 20, 28)
    book.begin(1, "a", 101, 20, 28)
    book.begin(2, None, 102, 20, 28)
    assert [book.is_owned(slot) for slot in range(4)] == [True, True, False, False]
    book.end(0)
    book.owner_is(1, None)
    assert not any(book.is_owned(slot) for slot in range(4))

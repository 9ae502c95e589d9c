"""Who has which link: a flow's own, or else its owner's, or else the default. This is the only copy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from udprism.columns.types import I32Column
from udprism.link.link import Link
from udprism.link.model import LinkModel


class LinkBook:
    """The links of up to `capacity` slots, and what the model is to do for each of them.

    Changed on the sending thread alone. Any thread may read `default`, `of_owner` and `of_slot`: they are replaced, and
    never changed. An owner keeps a link over many flows (a hosted client does); a slot has at most one.
    """

    def __init__(self, model: LinkModel, capacity: int) -> None:
        self.model = model
        self.default: Link | None = None
        """The link of all flows that have none of their own."""
        self.of_owner: Mapping[str, Link] = {}
        self.of_slot: Mapping[int, Link] = {}
        """Flows' own links, each removed with its flow."""
        self.version = 0
        """Incremented after each change."""
        self._is_taken = np.zeros(capacity, np.bool_)
        self._has_own = np.zeros(capacity, np.bool_)
        """Owners whose link is not the default one."""
        self._key = np.zeros(capacity, np.uint64)
        self._payload_at = np.zeros(capacity, np.int64)
        self._header_bytes = np.zeros(capacity, np.int64)
        self._owner_of_slot: dict[int, str] = {}
        self._slots_of_owner: defaultdict[str, set[int]] = defaultdict(set)

    @property
    def owned(self) -> int:
        """How many flows belong to an owner."""
        return len(self._owner_of_slot)

    def is_owned(self, slot: int) -> bool:
        """Whether this slot is one of an owner's, as a hosted client's is. Sending thread only."""
        return slot in self._owner_of_slot

    def own_of(self, slot: int) -> Link | None:
        """The flow's own link, or its owner's."""
        return self.of_slot.get(slot) or self.of_owner.get(self._owner_of_slot.get(slot, ""))

    def begin(self, slot: int, owner: str | None, key: int, payload_at: int, header_bytes: int) -> None:
        """A flow begins in a free slot. key: see `link.client_key`; the others as in `LinkModel.assign`."""
        self._is_taken[slot] = True
        self._key[slot] = key
        self._payload_at[slot] = payload_at
        self._header_bytes[slot] = header_bytes
        self._own(slot, owner)

    def owner_is(self, slot: int, owner: str | None) -> None:
        """The flow belongs to this owner, as of now: another client may have got a socket's address."""
        if self._owner_of_slot.get(slot) != owner:
            self._disown(slot)
            self._own(slot, owner)

    def end(self, slot: int) -> None:
        """The flow has ended; its slot is free, and its link is off."""
        self._disown(slot)
        self._is_taken[slot] = self._has_own[slot] = False
        if slot in self.of_slot:
            self._put_own(slot, None)
        if self.model.active:
            self._assign(np.array([slot], np.int32), None)

    def put_default(self, link: Link | None) -> None:
        """Set the link of all flows that have none of their own. Acts on their next datagrams."""
        self.default = link
        self._assign(np.flatnonzero(self._is_taken & ~self._has_own).astype(np.int32), link)
        self.version += 1

    def put_owners(self, changes: Mapping[str, Link | None]) -> None:
        """Give owners links of their own. None removes them, and the default applies again."""
        self.of_owner = {owner: link for owner, link in {**self.of_owner, **changes}.items() if link is not None}
        slots_of: dict[int, tuple[Link | None, list[int]]] = {}  # by identity: a link for many is one object
        for owner, link in changes.items():
            slots = [slot for slot in self._slots_of_owner.get(owner, ()) if slot not in self.of_slot]
            if slots:
                self._has_own[slots] = link is not None
                slots_of.setdefault(id(link), (link, []))[1].extend(slots)
        for link, slots in slots_of.values():
            self._assign(np.array(slots, np.int32), self.default if link is None else link)
        self.version += 1

    def put_slot(self, slot: int, link: Link | None) -> None:
        """Give one flow a link of its own, or take it away (None)."""
        self._put_own(slot, link)
        self._apply(slot)
        self.version += 1

    def clear(self) -> None:
        """Remove all links."""
        self.default, self.of_owner, self.of_slot = None, {}, {}
        self._has_own[:] = False
        self._assign(np.flatnonzero(self._is_taken).astype(np.int32), None)
        self.version += 1

    def _own(self, slot: int, owner: str | None) -> None:
        if owner is not None:
            self._owner_of_slot[slot] = owner
            self._slots_of_owner[owner].add(slot)
        self._apply(slot)

    def _disown(self, slot: int) -> None:
        owner = self._owner_of_slot.pop(slot, None)
        if owner is not None:
            slots = self._slots_of_owner[owner]
            slots.discard(slot)
            if not slots:
                del self._slots_of_owner[owner]

    def _put_own(self, slot: int, link: Link | None) -> None:
        others = {one: its for one, its in self.of_slot.items() if one != slot}
        self.of_slot = others if link is None else others | {slot: link}

    def _apply(self, slot: int) -> None:
        own = self.own_of(slot)
        self._has_own[slot] = own is not None
        self._assign(np.array([slot], np.int32), own or self.default)

    def _assign(self, slots: I32Column, link: Link | None) -> None:
        if len(slots) and (self.model.active or not (link is None or link.is_off)):
            self.model.assign(
                slots,
                link,
                self._key[slots],
                payload_at=self._payload_at[slots],
                header_bytes=self._header_bytes[slots],
            )

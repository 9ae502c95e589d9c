"""The addresses of a target, and which of them a client asks next: a name may have several, and few may answer.

`localhost` is ::1 and then 127.0.0.1 on most systems, and most servers listen at one of them. RFC 8305 races addresses
for connections; a `connect` over UDP is asked again anyway, so its tries go to one address after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from udprism.columns.types import NEVER_NS, NS_PER_S, Address

LOOK_UP_AGAIN_NS: Final = 10 * NS_PER_S
"""A name whose addresses are known is looked up again at a try, but no more often than this."""
_LOOK_UP_NS: Final = NS_PER_S
"""And one whose addresses are not known."""


class Route:
    """One target's addresses, as all its clients share them. is_name: it has to be looked up, and may change."""

    def __init__(self, addresses: Iterable[Address] = (), *, is_name: bool = False) -> None:
        self.addresses = tuple(addresses)
        self.clients = 0
        """How many clients have this target."""
        self.failures = 0
        """How often in a row no address was found."""
        self._is_name = is_name
        self._refused: set[Address] = set()
        self._looked_up_ns = -NEVER_NS

    def wants_look_up(self, number: int, now_ns: int) -> bool:
        """Whether to look the target up before try `number`; the caller then does."""
        age_ns = now_ns - self._looked_up_ns
        if self.addresses and (number == 0 or not self._is_name or age_ns < LOOK_UP_AGAIN_NS):
            return False
        if age_ns < _LOOK_UP_NS:
            return False
        self._looked_up_ns = now_ns
        return True

    def learn(self, addresses: Iterable[Address]) -> None:
        """The target has these addresses now, best first; those that it had keep their order."""
        new = tuple(addresses)
        self.failures = 0
        if set(new) != set(self.addresses):
            self.addresses = new
            self._refused &= set(new)

    @property
    def in_turn(self) -> tuple[Address, ...]:
        """The addresses that are asked in turn: all, without those whose hosts refused as long as others have not."""
        return tuple(address for address in self.addresses if address not in self._refused) or self.addresses

    def choose(self, number: int) -> Address:
        """The address of try `number` (0, 1, …)."""
        in_turn = self.in_turn
        return in_turn[number % len(in_turn)]

    def refuse(self, address: Address) -> bool:
        """No one listens there, or there is no route. Returns True if the target has another address to try."""
        if len(self.addresses) > 1:
            self._refused.add(address)
        return any(other != address and other not in self._refused for other in self.addresses)

    def has_refused(self, address: Address) -> bool:
        """Whether this one of several addresses is left out."""
        return address in self._refused

    def answer(self, address: Address) -> None:
        """This address has answered: it is the first to ask from now on."""
        self._refused.discard(address)
        if address in self.addresses and self.addresses[0] != address:
            self.addresses = (address, *(other for other in self.addresses if other != address))

    def pardon(self, address: Address) -> None:
        """It was asked again, and no longer refused."""
        self._refused.discard(address)

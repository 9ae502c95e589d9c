"""Several files read one after the other as if they were one: a ring of files of one recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from udprism.capture.datagrams import DatagramReader, Datagrams
from udprism.capture.packets import Interface
from udprism.capture.skips import Skip

Forget: TypeAlias = Callable[[int], None]


class Series:
    """Reads files in the order given. Interfaces that are described alike are one."""

    def __init__(self, files: Sequence[tuple[DatagramReader, Forget]]) -> None:
        """files: at least one; each with what is called with the offset before which nothing is read any more."""
        self.interfaces: list[Interface] = []
        """All that have been met so far."""
        self._files = files

    @property
    def packets(self) -> int:
        """That were read until now."""
        return sum(reader.packets for reader, _ in self._files)

    @property
    def skipped(self) -> Counter[Skip]:
        """Packets that hold no datagram, by reason."""
        return sum((Counter(reader.skips.count) for reader, _ in self._files), Counter[Skip]())

    @property
    def cut_at(self) -> int | None:
        """Where the incomplete record of the last file begins; None if it is whole."""
        return self._files[-1][0].file.cut_at

    def datagrams(self) -> Iterator[Datagrams]:
        """Batch after batch. Raises: CaptureError."""
        for reader, forget in self._files:
            for batch in reader.datagrams():
                self._meet(reader, batch)
                yield batch
                forget(int(batch.record_at[0]))
            for one in reader.file.interfaces:
                self._number(one)

    def _meet(self, reader: DatagramReader, batch: Datagrams) -> None:
        number = np.array([self._number(one) for one in reader.file.interfaces], np.int32)
        batch.interface = number[batch.interface]

    def _number(self, interface: Interface) -> int:
        if interface not in self.interfaces:
            self.interfaces.append(interface)
        return self.interfaces.index(interface)

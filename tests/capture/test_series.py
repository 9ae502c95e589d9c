"""Several capture files, read as one."""

from __future__ import annotations

import numpy as np

from support.recorded import as_pcap, as_pcapng, assorted
from udprism.capture.datagrams import DatagramReader
from udprism.capture.series import Series

DATAGRAMS = assorted(60)


def series(*files: bytes) -> Series:
    return Series([(DatagramReader(np.frombuffer(data, np.uint8)), lambda before: None) for data in files])


def test_files_of_one_recording_are_as_one_file() -> None:
    whole, parts = series(as_pcapng(DATAGRAMS)), series(as_pcapng(DATAGRAMS[:25]), as_pcapng(DATAGRAMS[25:]))
    found = [
        [(batch.interface[row], batch.payload(row)) for batch in one.datagrams() for row in range(len(batch))]
        for one in (whole, parts)
    ]
    assert found[0] == found[1]
    assert (parts.packets, parts.interfaces) == (len(DATAGRAMS), whole.interfaces)
    assert (parts.skipped.total(), parts.cut_at) == (0, None)


def test_an_interface_that_is_described_otherwise_is_another() -> None:
    both = series(as_pcap(DATAGRAMS[:5]), as_pcapng(DATAGRAMS[5:10])[:-1])
    interfaces = {int(number) for batch in both.datagrams() for number in batch.interface}
    assert interfaces == {0, 1, 2} & interfaces
    assert len(both.interfaces) == 3
    assert both.cut_at is not None

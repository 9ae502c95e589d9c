"""Large files are read without becoming this process's memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import captures
from udprism.errors import RequestError
from udprism.udp.mapped_file import mapped

FILE_BYTES = 256 << 20
SCRIPT = """
import json, resource, sys
from pathlib import Path
from udprism.capture.datagrams import DatagramReader
from udprism.udp.mapped_file import mapped
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
count = 0
with mapped(Path(sys.argv[1])) as capture:
    before = peak()
    for batch in DatagramReader(capture.data).datagrams():
        count += len(batch)
        capture.forget(int(batch.record_at[0]))
print(json.dumps([count, peak() - before]))
"""


def test_its_bytes_are_the_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1000)
    with mapped(path) as capture:
        capture.forget(1000)
        assert capture.data.tobytes() == b"abc" * 1000


@pytest.mark.parametrize("made", [lambda path: None, Path.touch, Path.mkdir], ids=["missing", "empty", "a folder"])
def test_what_cannot_be_read_is_a_fault_of_the_request(tmp_path: Path, made) -> None:
    path = tmp_path / "file"
    made(path)
    with pytest.raises(RequestError) as caught, mapped(path):
        pass
    assert caught.value.field == "file"


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are counted in KiB")
def test_memory_is_bounded_whatever_the_files_size(tmp_path: Path) -> None:
    path, record = tmp_path / "large.pcap", captures.record(captures.frame(bytes(1400)))
    count = FILE_BYTES // len(record)
    with path.open("wb") as file:
        file.write(captures.pcap_head())
        for _ in range(count // 1000):
            file.write(record * 1000)
    done = subprocess.run([sys.executable, "-c", SCRIPT, path], capture_output=True, check=True, env=os.environ)
    read, grown_bytes = json.loads(done.stdout)
    assert read == count // 1000 * 1000
    assert grown_bytes < FILE_BYTES / 2

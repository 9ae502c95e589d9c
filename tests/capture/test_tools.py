"""Every file that we write, read by the tools that people use; and what those tools do with other shapes of file.

The second half says why files have the shape they have. It holds for the versions named and is skipped for others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import captures, peers
from support.captures import enhanced, interface, ip4, option, section, udp
from support.recorded import COMMENTS, INTERFACES, as_pcap, as_pcapng, assorted
from udprism.capture.datagrams import DatagramReader

pytestmark = pytest.mark.peer
DEADLINE_S = 60
TOOLS = ("tshark", "editcap", "mergecap", "reordercap", "capinfos", "tcpdump")
DATAGRAMS = assorted(200)
NS = option(9, b"\x09")


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written")
    (path / "our.pcapng").write_bytes(as_pcapng(DATAGRAMS))
    (path / "our.pcap").write_bytes(as_pcap(DATAGRAMS))
    return path


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def good(*words: str | Path) -> str:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fields(path: Path, *names: str) -> list[list[str]]:
    """Columns of tshark, a line a packet."""
    words = [word for name in names for word in ("-e", name)]
    checked = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-d", "udp.port==0-65535,data")
    return [
        line.split("\t") for line in good("tshark", "-n", "-r", path, *checked, "-T", "fields", *words).splitlines()
    ]


def test_a_round_trip_through_tshark_is_equal_to_the_last_byte(written: Path, tmp_path: Path) -> None:
    for name, kind in (("our.pcapng", "pcapng"), ("our.pcap", "nsecpcap")):
        good("tshark", "-r", written / name, "-F", kind, "-w", tmp_path / name)
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_tshark_sees_every_datagram_with_all_that_is_said_of_it(written: Path) -> None:
    names = ["frame.time_epoch", "frame.interface_name", "frame.interface_description", "frame.packet_flags_direction"]
    names += ["frame.packet_id", "frame.drop_count", "frame.comment", "udp.srcport", "udp.length", "data.data"]
    found = fields(written / "our.pcapng", *names, "udp.checksum.status", "ip.checksum.status")
    assert len(found) == len(DATAGRAMS)
    for line, one in zip(found, DATAGRAMS, strict=True):
        seconds, nanoseconds = divmod(one.time_ns, 10**9)
        mine = INTERFACES[one.interface]
        assert line[0] == f"{seconds}.{nanoseconds:09}"
        assert line[1:3] == [mine.name, mine.description]
        assert int(line[3], 0) == 2 - one.interface
        assert line[6] == COMMENTS[one.comment]
        assert line[7:10] == [str(one.source[1]), str(8 + len(one.payload)), one.payload.hex()]
        assert line[10] == "1"  # good
        assert line[11] == ("" if ":" in one.source[0] else "1")
    known = {name: number for number, name in enumerate(names)}
    if any(line[known["frame.packet_id"]] for line in found):  # not in every version
        assert [int(line[known["frame.packet_id"]]) for line in found] == [one.packet_id for one in DATAGRAMS]
    if any(line[known["frame.drop_count"]] for line in found):
        assert [int(line[known["frame.drop_count"]] or 0) for line in found] == [one.drops for one in DATAGRAMS]


def test_a_packet_has_one_comment_so_that_json_keeps_it(written: Path) -> None:
    text = good("tshark", "-n", "-r", written / "our.pcapng", "-T", "json")
    commented = [one for one in DATAGRAMS if one.comment]
    assert text.count('"frame.comment":') == len(commented)
    found = [packet["_source"]["layers"].get("pkt_comment", {}).get("frame.comment", "") for packet in json.loads(text)]
    assert found == [COMMENTS[one.comment] for one in DATAGRAMS]


@pytest.mark.parametrize(
    "words",
    [
        lambda source, out: ("editcap", source, out),
        lambda source, out: ("editcap", "-F", "pcapng", source, out),
        lambda source, out: ("mergecap", "-w", out, source),
        lambda source, out: ("reordercap", source, out),
    ],
    ids=["editcap", "editcap -F pcapng", "mergecap", "reordercap"],
)
@pytest.mark.parametrize("name", ["our.pcapng", "our.pcap"])
def test_copies_have_every_datagram_and_every_comment(
    name: str, words: Callable[[Path, Path], tuple[str | Path, ...]], written: Path, tmp_path: Path
) -> None:
    good(*words(written / name, tmp_path / "copy"))
    names = ["frame.time_epoch", "frame.comment", "data.data"]
    names += ["frame.interface_name"] if name.endswith("ng") else []  # the copy of a classic file gets one
    assert fields(tmp_path / "copy", *names) == fields(written / name, *names)


def test_two_files_are_merged_without_joining_interfaces(written: Path, tmp_path: Path) -> None:
    other = [one._replace(time_ns=one.time_ns + 5) for one in DATAGRAMS]
    (tmp_path / "other.pcapng").write_bytes(as_pcapng(other).replace(b"lamp/", b"door/"))
    good("mergecap", "-w", tmp_path / "both", written / "our.pcapng", tmp_path / "other.pcapng")
    names = {line[0] for line in fields(tmp_path / "both", "frame.interface_name")}
    assert names == {"lamp/sender", "lamp/receiver", "door/sender", "door/receiver"}


@pytest.mark.parametrize("name", ["our.pcapng", "our.pcap"])
def test_tcpdump_reads_every_datagram_and_finds_the_checksums_right(name: str, written: Path) -> None:
    text = good("tcpdump", "-n", "-vv", "-r", written / name, "--time-stamp-precision=nano")
    assert text.count("[udp sum ok]") == len(DATAGRAMS)
    assert "bad" not in text
    counted = good("tcpdump", "-n", "--count", "-r", written / name)
    assert counted.split()[0] == str(len(DATAGRAMS))


def test_capinfos_knows_the_shape(written: Path) -> None:
    found = good("capinfos", "-M", written / "our.pcapng")
    assert re.search(r"Number of interfaces in file: +2", found)
    assert re.search(r"File encapsulation: +ether", found)
    assert re.search(r"nanoseconds \(9\)", found)
    assert re.search(rf"Number of packets: +{len(DATAGRAMS)}", found)


@pytest.fixture(scope="module")
def readers() -> Path:
    return peers.python_with(*peers.CAPTURE_READERS)


def by_library(readers: Path, library: str, path: Path) -> list[list[Any]]:
    script = Path(__file__).with_name("peer_readers.py")
    found: list[list[Any]] = json.loads(good(readers, script, library, path))
    return found


EXPECTED = [[one.time_ns, one.payload.hex()] for one in DATAGRAMS]


@pytest.mark.parametrize("name", ["our.pcapng", "our.pcap"])
def test_dpkt_reads_every_datagram(readers: Path, written: Path, name: str) -> None:
    found = by_library(readers, "dpkt", written / name)
    assert [payload for _, payload in found] == [payload for _, payload in EXPECTED]
    # It makes a float of a time: as near as that comes.
    assert all(abs(time_ns - one.time_ns) < 1000 for (time_ns, _), one in zip(found, DATAGRAMS, strict=True))


@pytest.mark.parametrize("name", ["our.pcapng", "our.pcap"])
def test_scapy_reads_every_datagram(readers: Path, written: Path, name: str) -> None:
    found = by_library(readers, "scapy", written / name)
    assert [line[:2] for line in found] == EXPECTED
    if name == "our.pcapng":
        assert [line[2] for line in found] == [INTERFACES[one.interface].name for one in DATAGRAMS]


def test_python_pcapng_reads_every_datagram(readers: Path, written: Path) -> None:
    found = by_library(readers, "pcapng", written / "our.pcapng")
    expected = [[INTERFACES[one.interface].name, COMMENTS[one.comment] or None] for one in DATAGRAMS]
    assert found == [first + second for first, second in zip(EXPECTED, expected, strict=True)]


def test_a_file_that_grows_can_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "grows.pcapng"
    whole = as_pcapng(DATAGRAMS[:4])
    parts = [as_pcapng(DATAGRAMS[:count]) for count in range(4)]
    path.write_bytes(parts[0])
    command = f"tail -c +1 -f {path} | tshark -l -n -r - -T fields -e udp.srcport"
    with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            assert process.stdout is not None
            before = len(parts[0])
            for number, part in enumerate([*parts[1:], whole]):
                with path.open("ab") as file:
                    file.write(part[before:])
                before = len(part)
                assert process.stdout.readline().strip() == str(DATAGRAMS[number].source[1])
        finally:
            os.killpg(process.pid, 9)


# Files that tcpdump writes, read by us.


@contextmanager
def tcpdump_of(path: Path, port: int, *words: str) -> Iterator[None]:
    """tcpdump writes what goes to a UDP port. Skips the test without the right to."""
    # In this mode each packet takes as much of the buffer as the longest: here 1,024 of them fit.
    command = ["tcpdump", "-n", "-U", "--immediate-mode", "-s", "16384", "-B", "16384"]
    command += ["--time-stamp-precision=nano", *words, "-w", "-"]
    with (
        path.open("wb") as out,
        subprocess.Popen([*command, f"udp port {port}"], stdout=out, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            while "listening on" not in said:
                if not said:
                    pytest.skip("no right to capture")
                said = process.stderr.readline()
            yield
        finally:
            process.kill()


def read_by_us(path: Path) -> list[tuple[int, bytes]]:
    """(time, payload) of each datagram so far."""
    data = np.fromfile(path, np.uint8)
    reader = DatagramReader(data) if len(data) >= 24 else None
    batches = [] if reader is None else list(reader.datagrams())
    return [(int(batch.time_ns[at]), batch.payload(at)) for batch in batches for at in range(len(batch))]


@pytest.mark.parametrize(
    "words",
    [("-i", "lo"), ("-i", "any"), ("-i", "any", "-y", "LINUX_SLL"), ("-i", "any", "-y", "LINUX_SLL2")],
    ids=["Ethernet", "any", "cooked 1", "cooked 2"],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_tcpdump_captures_is_read_datagram_by_datagram(words: tuple[str, ...], host: str, tmp_path: Path) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    rng = np.random.default_rng(1)
    payloads = [b"%d " % at + rng.bytes(int(rng.choice([0, 23, 1400, 9000]))) for at in range(200)]
    path = tmp_path / "captured.pcap"
    with socket.socket(family, socket.SOCK_DGRAM) as target, socket.socket(family, socket.SOCK_DGRAM) as sender:
        try:
            target.bind((host, 0))
        except OSError:
            pytest.skip(f"no {host} here")
        address = target.getsockname()
        with tcpdump_of(path, address[1], *words):
            until_s = time.monotonic() + DEADLINE_S
            while not read_by_us(path):  # it says that it listens a moment before it does
                assert time.monotonic() < until_s
                sender.sendto(b"begin", address)
                time.sleep(0.02)
            begin_ns = time.time_ns()
            for payload in payloads:
                sender.sendto(payload, address)
            sender.sendto(b"end", address)
            while b"end" not in [payload for _, payload in read_by_us(path)]:
                assert time.monotonic() < until_s
                time.sleep(0.02)
            end_ns = time.time_ns()
    seen = read_by_us(path)
    found = list(dict.fromkeys(payload for _, payload in seen if payload not in (b"begin", b"end")))
    assert found == payloads  # on all interfaces loopback shows some twice
    assert all(begin_ns <= at_ns <= end_ns for at_ns, payload in seen if payload in payloads)
    mine = fields(path, "frame.time_epoch", "data.data")
    assert [[f"{at_ns // 10**9}.{at_ns % 10**9:09}", payload.hex()] for at_ns, payload in seen] == mine[: len(seen)]


# Why files have this shape.


@pytest.fixture
def wireshark_4_0() -> None:
    if "4.0.17" not in run("tshark", "--version").stdout:
        pytest.skip("holds for Wireshark 4.0.17")


@pytest.fixture
def libpcap_1_10() -> None:
    done = run("tcpdump", "--version")
    if not re.search(r"libpcap version 1\.10\.", done.stdout + done.stderr):
        pytest.skip("holds for libpcap 1.10")


def file_of(tmp_path: Path, *blocks: bytes) -> Path:
    path = tmp_path / "strange.pcapng"
    path.write_bytes(b"".join(blocks))
    return path


@pytest.mark.usefixtures("wireshark_4_0")
@pytest.mark.parametrize("block", [captures.block(4, bytes(4)), captures.block(0xBAD, bytes(8))], ids=["NRB", "custom"])
def test_a_block_before_the_first_interface_makes_wiresharks_tools_refuse_the_file(
    block: bytes, tmp_path: Path
) -> None:
    path = file_of(tmp_path, section(), block, interface(options=NS), enhanced(captures.frame(b"x")))
    out = tmp_path / "out"
    for words in (("editcap", path, out), ("mergecap", "-w", out, path), ("reordercap", path, out)):
        done = run(*words)
        assert done.returncode != 0
        assert 'can\'t be written as a "pcapng" file' in done.stderr


@pytest.mark.usefixtures("wireshark_4_0")
def test_a_second_section_is_read_with_the_first_ones_interfaces(readers: Path, tmp_path: Path) -> None:
    parts = [
        section() + interface(options=option(2, name) + NS) + enhanced(captures.frame(name)) for name in (b"a", b"b")
    ]
    path = file_of(tmp_path, *parts)
    assert fields(path, "frame.interface_name") == [["a"], ["a"]]
    assert [line[2] for line in by_library(readers, "scapy", path)] == ["a", "a"]


@pytest.mark.usefixtures("libpcap_1_10")
@pytest.mark.parametrize(
    ("link_type", "snaps", "said"),
    [
        (captures.RAW, (0, 0), "an interface has a type 101 different from the type of the first interface"),
        (captures.ETHERNET, (100, 200), "a snapshot length 200 different from the snapshot length of the first"),
        (captures.ETHERNET, (20, 20), "invalid packet capture length 43, bigger than snaplen of 20"),
        (captures.ETHERNET, (0, 0), ""),
    ],
    ids=["raw", "different snaplens", "exceeded snaplen", "ours"],
)
def test_libpcap_refuses_other_interfaces(link_type: int, snaps: tuple[int, int], said: str, tmp_path: Path) -> None:
    described = [interface(link_type, NS, snap_bytes=snap) for snap in snaps]
    packet = captures.linked(ip4(udp(b"x")), link_type)
    path = file_of(tmp_path, section(), *described, enhanced(packet), enhanced(packet, 0, 1))
    done = run("tcpdump", "-n", "--count", "-r", path)
    assert (done.returncode != 0) == bool(said)
    assert said in done.stderr


@pytest.mark.usefixtures("wireshark_4_0")
def test_mergecap_joins_interfaces_of_one_name(tmp_path: Path) -> None:
    same = interface(options=option(2, b"same") + NS)
    path = file_of(tmp_path, section(), same, enhanced(captures.frame(b"x")))
    good("mergecap", "-w", tmp_path / "out", path, path)
    assert re.search(r"Number of interfaces in file: +1", good("capinfos", "-I", tmp_path / "out"))


@pytest.mark.usefixtures("wireshark_4_0")
def test_a_second_comment_is_a_key_twice_in_json(tmp_path: Path) -> None:
    comments = option(1, b"first") + option(1, b"second") + option(0, b"")
    path = file_of(tmp_path, section(), interface(options=NS), enhanced(captures.frame(b"x"), options=comments))
    assert good("tshark", "-r", path, "-T", "json").count('"frame.comment":') == 2


@pytest.mark.usefixtures("wireshark_4_0")
def test_a_verdict_makes_the_copy_unreadable(tmp_path: Path) -> None:
    verdict = option(7, b"\x01" + bytes(8)) + option(0, b"")
    path = file_of(tmp_path, section(), interface(options=NS), enhanced(captures.frame(b"x"), options=verdict))
    good("tshark", "-r", path, "-w", tmp_path / "copy")
    assert "option length 9 is not 4" in run("tshark", "-r", tmp_path / "copy").stderr


def test_an_offset_of_times_is_ignored_by_libraries(readers: Path, tmp_path: Path) -> None:
    offset = option(14, (1000).to_bytes(8, "little"))
    path = file_of(tmp_path, section(), interface(options=NS + offset), enhanced(captures.frame(b"x"), 7))
    assert fields(path, "frame.time_epoch") == [["1000.000000007"]]
    assert [line[0] for library in ("scapy", "pcapng") for line in by_library(readers, library, path)] == [7, 7]

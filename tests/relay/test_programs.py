"""Real programs through a relay that loses, delays and doubles their datagrams both ways: they get their work done, and
what the relay says it did is what they saw."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.programs import DEADLINE_S, Programs, all_read, free_port, listens, need, wait_for
from udprism.testing import Link, Rule, Sums, UdpRelay

pytestmark = pytest.mark.peer
HOST = "127.0.0.1"


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as started:
        yield started


def closes(sums: Sums) -> bool:
    return sums.in_ == sums.out + sums.lost + sums.held


def output_of(*command: str, timeout_s: float = DEADLINE_S) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s).stdout


# DNS


def test_dns_answers_though_every_fifth_datagram_is_lost_both_ways(programs: Programs) -> None:
    need("dnsmasq", "dig")
    port = free_port()
    programs.start(
        "dnsmasq", "--no-daemon", f"--port={port}", f"--listen-address={HOST}", "--bind-interfaces", "--no-resolv",
        "--no-hosts", "--pid-file=", "--address=/example.test/192.0.2.7", stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: listens(port))
    link = Link(loss_ratio=0.2, duplicate_ratio=0.2, delay_ms=5, jitter_ms=4, seed=11)
    with UdpRelay(to=(HOST, port), up=link, down=link) as relay:
        dig = ["dig", f"@{HOST}", "-p", str(relay.address[1]), "example.test", "+short", "+tries=15", "+time=1"]
        for _ in range(10):
            assert output_of(*dig, timeout_s=60).splitlines()[-1] == "192.0.2.7"
        assert relay.up.lost + relay.down.lost > 3
        assert len(relay.flows) >= 10, "a port for each query: conversations of one datagram"
        assert closes(relay.up)
        assert closes(relay.down)


# TFTP


def tftp(programs: Programs, folder: Path) -> int:
    need("in.tftpd", "tftp")
    port = free_port()
    address = f"{HOST}:{port}"
    programs.start(
        "in.tftpd", "--listen", "--foreground", "--address", address, "--user", "root", "--secure", str(folder)
    )
    wait_for(lambda: listens(port))
    return port


def test_tftp_arrives_whole_when_its_answering_port_is_followed(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(20_000))
    port = tftp(programs, tmp_path)
    rules = [Rule("drop", "down", nth=5), Rule("drop", "up", nth=9), Rule("duplicate", "down", every=7)]
    with UdpRelay(to=(HOST, port), any_port=True, up=Link(delay_ms=3), down=Link(delay_ms=3), rules=rules) as relay:
        got = tmp_path / "got"
        output_of("tftp", HOST, str(relay.address[1]), "-m", "binary", "-c", "get", "file", str(got), timeout_s=60)
        assert got.read_bytes() == (tmp_path / "file").read_bytes()
        assert relay.rule_hits[:2] == [1, 1]
        assert relay.down.in_ > 40, "20,000 bytes in blocks of 512"


def test_tftp_gets_nothing_through_a_relay_that_takes_answers_from_one_port_alone(
    programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 2000)
    port = tftp(programs, tmp_path)
    with UdpRelay(to=(HOST, port)) as relay:
        got = tmp_path / "got"
        command = ["tftp", HOST, str(relay.address[1]), "-m", "binary", "-c", "get", "file", str(got)]
        process = programs.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: relay.up.out >= 2)  # it asks again
        process.terminate()
        assert relay.down.in_ == 0
        assert not got.exists() or not got.read_bytes()


# iperf3 and iperf2: what they say is what we say that they would

IMPAIRED = Link(loss_ratio=0.058, duplicate_ratio=0.034, reorder_ratio=0.05, delay_ms=4, seed=7)


def test_iperf3_says_what_we_say_that_it_says(programs: Programs) -> None:
    need("iperf3")
    port = free_port(socket.SOCK_STREAM, "127.0.0.2")
    programs.start("iperf3", "-s", "-1", "-B", "127.0.0.2", "-p", str(port), stdout=subprocess.DEVNULL)
    wait_for(lambda: listens(port, "tcp"))
    # The first datagram of each way is the handshake, which iperf3 never repeats.
    with UdpRelay(to=("127.0.0.2", port), listen=(HOST, port), down=Link(delay_ms=2)) as relay:

        def all_are_there() -> bool:
            up = relay.up
            return up.in_ <= 1 or (up.in_ == 1001 and up.held == 0 and all_read(port))

        # iperf3 stops counting at the word over TCP that all is sent: what is still on its way then would not count.
        programs.forward_tcp((HOST, port), ("127.0.0.2", port), when=all_are_there)
        client = programs.start(
            "iperf3", "-c", HOST, "-p", str(port), "-u", "-k", "1000", "-l", "200", "-b", "800K", "-J",
            stdout=subprocess.PIPE,
        )  # fmt: skip
        wait_for(lambda: relay.down.out >= 1)
        relay.set_link("up", IMPAIRED)
        out, _ = client.communicate(timeout=DEADLINE_S)
        wait_for(lambda: relay.up.held == 0)
        up = relay.up
        told = json.loads(out)["end"]["streams"][0]["udp"]
        assert up.lost > 30
        assert up.duplicated > 15
        assert told["lost_packets"] == up.iperf3_lost
        assert told["lost_packets"] < up.lost, "copies and late ones are taken off"


def test_iperf2_says_what_a_receiver_report_would(programs: Programs) -> None:
    need("iperf")
    port = free_port()
    server = programs.start("iperf", "-s", "-u", "-p", str(port), "-B", HOST, "-P", "1", stdout=subprocess.PIPE)
    wait_for(lambda: listens(port))
    link = Link(loss_ratio=0.058, duplicate_ratio=0.034, seed=9)
    with UdpRelay(to=(HOST, port), up=link) as relay:
        output_of("iperf", "-c", HOST, "-u", "-p", str(relay.address[1]), "-l", "200", "-n", "200000", "-b", "1600K")
        assert server.stdout is not None
        report = re.search(rb"(\d+)/(\d+) \([\d.]+%\)", server.communicate(timeout=DEADLINE_S)[0])
        assert report is not None
        lost, total = int(report[1]), int(report[2])
        data = [one for one in relay.datagrams() if one.fate == "forwarded"]
        assert relay.up.lost > 30
        assert relay.up.duplicated > 15
        # The last datagram is sent until it is acknowledged, and is not among those that it counts.
        goodbyes = relay.up.in_ - total
        assert 0 <= goodbyes <= 12, data[-1]
        assert abs(lost - relay.up.rfc3550_lost) <= goodbyes + 1


# sockperf: counts by number, in the middle of its run


def test_sockperf_counts_losses_by_number_in_the_middle_of_its_run(programs: Programs) -> None:
    need("sockperf")
    port = free_port()
    programs.start("sockperf", "server", "-i", HOST, "-p", str(port), stdout=subprocess.DEVNULL)
    wait_for(lambda: listens(port))
    link = Link(loss_ratio=0.058, duplicate_ratio=0.034, seed=9)
    with UdpRelay(to=(HOST, port), up=link) as relay:
        words = ("-i", HOST, "-p", str(relay.address[1]), "--mps", "500", "-t", "2", "--reply-every", "1")
        said = output_of("sockperf", "under-load", *words)
        sent, came, dropped, doubled = (
            int(number)
            for pattern in (
                r"Valid.*SentMessages=(\d+)",
                r"Valid.*Messages=(\d+)$",
                r"dropped.* = (\d+);.*dup",
                r"duplicated.* = (\d+);",
            )
            for number in re.findall(pattern, said, re.MULTILINE)
        )
        up = relay.up
        assert up.duplicated > 15
        assert 0 < doubled <= up.duplicated, "on a busy machine it misses some"
        assert dropped == sent - came
        assert 15 < dropped <= up.lost + relay.down.held
        assert sent < up.in_, "its first and last datagrams are not among them"


# irtt: loss by number, which is right, and its figure by way, which is not


def test_irtts_round_trips_miss_exactly_what_the_relay_lost(programs: Programs) -> None:
    need("irtt")
    port = free_port()
    programs.start("irtt", "server", "-b", f"{HOST}:{port}", "-i", "0", stdout=subprocess.DEVNULL)
    wait_for(lambda: listens(port))
    with UdpRelay(to=(HOST, port)) as relay:
        client = programs.start(
            "irtt", "client", "-i", "5ms", "-d", "3s", "-l", "100", "-q", "-o", "-", f"{HOST}:{relay.address[1]}",
            stdout=subprocess.PIPE,
        )  # fmt: skip
        wait_for(lambda: relay.up.in_ >= 4)  # the handshake is over
        relay.set_link("up", Link(loss_ratio=0.06, duplicate_ratio=0.04, seed=3))
        relay.set_link("down", Link(loss_ratio=0.03, seed=4))
        out, _ = client.communicate(timeout=DEADLINE_S)
        stats = json.loads(out[out.index(b"{") :])
        lost = {"up": 0, "down": 0}
        for trip in stats["round_trips"]:
            lost["up"] += trip["lost"] in ("true", "true_up")
            lost["down"] += trip["lost"] == "true_down"
        up, down = relay.up, relay.down
        assert up.lost > 10
        figures = stats["stats"]
        seen_once = figures["packets_received"] - figures["duplicates"]
        assert figures["packets_sent"] - seen_once == lost["up"] + lost["down"]
        assert 0 <= up.lost - lost["up"] <= 1, "the goodbye is none of its round trips"
        assert lost["down"] <= down.lost, "a doubled request is answered twice: its answer is lost only if both are"
        right = 100 * lost["up"] / figures["packets_sent"]
        assert figures["upstream_loss_percent"] < right, "it takes copies for arrivals"


# RTP by ffmpeg


def test_rtp_from_ffmpeg_misses_exactly_the_numbers_that_the_relay_lost(programs: Programs) -> None:
    need("ffmpeg")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        receiver.bind((HOST, 0))
        link = Link(loss_ratio=0.1, delay_ms=5, jitter_ms=5, duplicate_ratio=0.05, seed=21)
        with UdpRelay(to=receiver.getsockname(), up=link) as relay:
            own = f"localrtpport={free_port()}&localrtcpport={free_port()}&pkt_size=300"
            source = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=25", "-t", "2", "-c:v", "mpeg2video"]
            output_of("ffmpeg", "-v", "error", *source, "-f", "rtp", f"rtp://{HOST}:{relay.address[1]}?{own}")
            wait_for(lambda: relay.up.held == 0 and relay.up.in_ > 100)
            media = max(relay.flows, key=lambda flow: flow.up.in_)  # RTCP comes from a port of its own
            told = relay.datagrams(media.ordinal)
            seen: list[int] = []
            receiver.setblocking(False)
            try:
                while True:
                    data = receiver.recv(2000)
                    if data[1] & 0x7F == 32:  # MPEG video, RFC 3551; RTCP's types are above 191
                        seen.append(int.from_bytes(data[2:4], "big"))
            except BlockingIOError:
                pass
    numbers = {one.number: int.from_bytes(one.data[2:4], "big") for one in told}
    lost = {numbers[one.number] for one in told if one.fate == "lost"}
    first = min(numbers.values())
    assert len(lost) > 5
    assert not lost & set(seen)
    assert {numbers[one.number] for one in told if one.fate == "forwarded"} <= set(seen)
    assert sum(seen.count(number) - 1 for number in set(seen) if number >= first) == sum(one.duplicated for one in told)


# SRT


@pytest.mark.slow
def test_a_file_arrives_whole_over_srt(programs: Programs, tmp_path: Path) -> None:
    need("srt-file-transmit")
    port = free_port()
    (tmp_path / "sent").write_bytes(os.urandom(1_000_000))
    (tmp_path / "got").mkdir()
    receiver = programs.start(
        "srt-file-transmit", f"srt://{HOST}:{port}?mode=listener", f"file://{tmp_path}/got/received",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: listens(port))
    up, down = (Link(loss_ratio=0.03, delay_ms=5, seed=seed) for seed in (5, 6))
    with UdpRelay(to=(HOST, port), up=up, down=down) as relay:
        sender = ["srt-file-transmit", f"file://{tmp_path}/sent", f"srt://{HOST}:{relay.address[1]}?mode=caller"]
        subprocess.run(sender, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        receiver.wait(60)
        (received,) = (tmp_path / "got").iterdir()  # it has the name that the sender gave it
        assert received.read_bytes() == (tmp_path / "sent").read_bytes()
        assert relay.up.lost > 10
        assert closes(relay.up)


# QUIC


async def _quic(relay: UdpRelay, port: int, size: int, rebind: bool) -> tuple[str, str]:
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.server import serve
    from aioquic.quic.configuration import QuicConfiguration

    from support.certificates import self_signed

    certificate, key, name = self_signed()
    content = os.urandom(size)
    tasks = set()

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send() -> None:
            await reader.read()
            writer.write(content)
            writer.write_eof()

        tasks.add(asyncio.ensure_future(send()))

    server_side = QuicConfiguration(is_client=False, alpn_protocols=["test"], idle_timeout=60)
    server_side.load_cert_chain(certificate, key)
    server = await serve(HOST, port, configuration=server_side, stream_handler=answer)
    client_side = QuicConfiguration(is_client=True, alpn_protocols=["test"], server_name=name, idle_timeout=60)
    client_side.load_verify_locations(str(certificate))
    got = b""
    async with connect(*relay.address, configuration=client_side) as client:
        reader, writer = await client.create_stream()
        writer.write(b"the file, please")
        writer.write_eof()
        while len(got) < size:
            piece = await reader.read(65_536)
            assert piece, "the stream ended too soon"
            got += piece
            if rebind and len(got) > size // 3:
                rebind = False
                assert await asyncio.to_thread(relay.rebind) == 1
    server.close()
    return hashlib.sha256(got).hexdigest(), hashlib.sha256(content).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("rebind", [False, True], ids=["", "with another port in the middle"])
def test_a_megabyte_arrives_over_quic(rebind: bool) -> None:
    port = free_port()
    up, down = (Link(loss_ratio=0.05, delay_ms=20, seed=seed) for seed in (1, 2))
    with UdpRelay(to=(HOST, port), up=up, down=down) as relay:
        got, sent = asyncio.run(asyncio.wait_for(_quic(relay, port, 1_000_000, rebind), 120))
        assert got == sent
        assert relay.down.lost > 20
        assert closes(relay.down)
        assert len(relay.flows) == 1


# CoAP


async def _coap(relay: UdpRelay, port: int, count: int) -> list[bytes]:
    import aiocoap
    from aiocoap import resource

    class Clock(resource.Resource):  # type: ignore[misc]  # aiocoap has no types
        async def render_get(self, request: Any) -> Any:
            return aiocoap.Message(payload=b"tick")

    site = resource.Site()
    site.add_resource(["clock"], Clock())
    server = await aiocoap.Context.create_server_context(site, bind=(HOST, port), transports=["simplesocketserver"])
    client = await aiocoap.Context.create_client_context(transports=["simple6"])
    tuning = aiocoap.numbers.constants.TransportTuning()
    tuning.ACK_TIMEOUT = 0.2
    tuning.MAX_RETRANSMIT = 8
    uri = f"coap://{HOST}:{relay.address[1]}/clock"
    try:
        asked = [aiocoap.Message(code=aiocoap.GET, uri=uri, transport_tuning=tuning) for _ in range(count)]
        return [(await client.request(one).response).payload for one in asked]
    finally:
        await client.shutdown()
        await server.shutdown()


def test_coap_gets_every_answer_by_asking_again() -> None:
    port = free_port()
    up, down = Link(loss_ratio=0.25, seed=3), Link(loss_ratio=0.25, delay_ms=5, seed=4)
    with UdpRelay(to=(HOST, port), up=up, down=down) as relay:
        answers = asyncio.run(asyncio.wait_for(_coap(relay, port, 25), 90))
        assert answers == [b"tick"] * 25
        assert relay.up.lost + relay.down.lost > 5

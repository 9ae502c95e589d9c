"""A relay against others, side by side: `udprism relay`, nginx's stream module, and thirty lines of asyncio.

    python tests/bench/relay.py [--what speed,delay,link] [--flows 1,100,1000] [--rounds 3] [--json]

speed   closed loop, at most 1,024 datagrams under way: datagrams/s, and the relay's processor time a datagram
delay   open loop, 20,000/s: what a relay adds, from the sender's clock to the kernel's stamp at the sink, p50 and p99
link    udprism alone: a delay of 50 ms at rates up to 60,000/s, its error; burst, rate and order beside loss alone

Relays take turns within a round, in a random order, so that what else the machine does meets all of them alike; figures
are medians, ratios are medians of the rounds' ratios, with their least and greatest. Each figure has `foreign` beside
it: how many processors others used meanwhile. Above 0.5 speeds say little; processor times say more.

The load is `relay_load.c`, compiled when it is needed (needs cc): sender and sink on processor 0, the relay on the
last one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LISTEN, TARGET = 21_001, 21_002
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit; worker_rlimit_nofile 20000;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {{ worker_connections 16384; multi_accept on; }}
stream {{ access_log off;
  server {{ listen 127.0.0.1:{listen} udp rcvbuf=4m sndbuf=4m; proxy_pass 127.0.0.1:{target}; proxy_timeout 60s; }} }}
"""
LINKS = {
    "loss": "loss=2%",
    "loss, burst": '{"loss_ratio": 0.02, "burst": {"enter_ratio": 0.01, "leave_ratio": 0.2}}',
    "loss, rate": "loss=2%,rate=10000000,queue=60000",
    "loss, order": "loss=2%,order",
    "loss, burst, rate, order": (
        '{"loss_ratio": 0.02, "burst": {"enter_ratio": 0.01, "leave_ratio": 0.2}, "rate_kbit_s": 10000000,'
        ' "queue_datagrams": 60000, "keep_order": true}'
    ),
}


def command_of(name: str, folder: Path) -> list[str]:
    """How a relay is started. `udprism` may have a link behind a colon."""
    name, _, link = name.partition(":")
    if name == "nginx":
        configuration = folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder, listen=LISTEN, target=TARGET))
        return ["nginx", "-p", str(folder), "-c", str(configuration)]
    if name == "asyncio":
        return [sys.executable, str(HERE / "relay_asyncio.py"), str(LISTEN), str(TARGET)]
    here = ["--listen", f"127.0.0.1:{LISTEN}", "--to", f"127.0.0.1:{TARGET}", "--max-flows", "2000", "--json"]
    return [sys.executable, "-m", "udprism", "relay", *here, *(["--up", link] if link else [])]


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def processor_s(pid: int) -> float:
    """User and system time of a process and its descendants."""
    ticks = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK_TICKS


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process and its descendants."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
    return total


def busy_s() -> float:
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + fields[5] + fields[6]) / CLOCK_TICKS


@contextlib.contextmanager
def running(name: str) -> Iterator[int]:
    """A relay, alone on the last processor; its pid. Ready when a datagram has passed."""
    import socket

    last = max(os.sched_getaffinity(0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", LISTEN))  # another relay that was left over would be measured in this one's name
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        process = subprocess.Popen(
            command_of(name, Path(folder)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {last}),
        )
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                sink.bind(("127.0.0.1", TARGET))
                sink.settimeout(0.05)
                until_s = time.monotonic() + 30
                while time.monotonic() < until_s and process.poll() is None:
                    client.sendto(b"there?", ("127.0.0.1", LISTEN))
                    with contextlib.suppress(TimeoutError):
                        sink.recv(100)
                        break
                else:
                    raise RuntimeError(f"{name} does not relay")
            sink.close()
            yield process.pid
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode} while it was measured")
        finally:
            children = family(process.pid)[1:]
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
            for child in children:
                with contextlib.suppress(OSError):
                    os.kill(child, 15)


def load(program: Path, name: str, flows: int, size: int, seconds: float, *how: str) -> dict[str, Any]:
    """One run of the load through one relay."""
    with running(name) as pid:
        command = [str(program), "--to", str(LISTEN), "--sink", str(TARGET), "--flows", str(flows), "--size", str(size)]
        command += ["--seconds", str(seconds), "--send-cpu", "0", "--sink-cpu", "0", *how]
        before, busy, own, start = processor_s(pid), busy_s(), os.times(), time.monotonic()
        memory = memory_bytes(pid)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
        took, spent, after = time.monotonic() - start, processor_s(pid) - before, os.times()
        mine = after.children_user - own.children_user + after.children_system - own.children_system
        result: dict[str, Any] = json.loads(done.stdout)
        passed = result["received"] + result["answered"] + flows
        return result | {
            "cpu_us": spent / passed * 1e6,
            "foreign": round(max(0.0, (busy_s() - busy - mine - spent) / took), 2),
            "bytes_per_flow": (memory_bytes(pid) - memory) / flows,
        }


def compare(program: Path, names: list[str], flows: int, size: int, rounds: int, *how: str) -> dict[str, Any]:
    """All relays in turn, in each round in another order; ratios are to the first name."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in random.sample(names, len(names)):
            runs[name].append(load(program, name, flows, size, 1.5, *how))
    told: dict[str, Any] = {}
    for name, mine in runs.items():
        told[name] = {"foreign": statistics.median(one["foreign"] for one in mine)}
        for key, read in FIGURES.items():
            values, first = [read(one) for one in mine], [read(one) for one in runs[names[0]]]
            if all(value is not None and value > 0 for value in values + first):
                ratios = sorted(a / b for a, b in zip(values, first, strict=True))
                told[name][key] = round(statistics.median(values), 2)
                three = statistics.median(ratios), ratios[0], ratios[-1]
                told[name][f"{key} ratio"] = [round(one, 2) for one in three]
    return told


FIGURES = {
    "received_per_s": lambda run: run["received_per_s"],
    "cpu_us": lambda run: run["cpu_us"],
    "delay_p50_us": lambda run: run["delay_us"]["p50"],
    "delay_p99_us": lambda run: run["delay_us"]["p99"],
    "loss": lambda run: run["loss"],
    "bytes_per_flow": lambda run: run["bytes_per_flow"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default="speed,echo,delay,link")
    parser.add_argument("--flows", default="1,100,1000")
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="nginx,udprism,asyncio")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [name for name in options.peers.split(",") if name != "nginx" or shutil.which("nginx")]
    window = ("--window", "1024")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "load"
        source = str(HERE / "relay_load.c")
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), source, "-lpthread"], check=True)
        for what in options.what.split(","):
            for flows in map(int, options.flows.split(",")):
                arguments = (program, names, flows, options.size, options.rounds)
                if what == "link":
                    links = [f"udprism:{link}" for link in LINKS.values()]
                    told = compare(program, links, flows, options.size, options.rounds, *window)
                    for rate in ("20000", "60000"):
                        delayed = ["udprism:delay=50"]
                        one = compare(program, delayed, flows, options.size, options.rounds, "--rate", rate, "--delay")
                        told[f"50 ms at {rate}/s"] = one[delayed[0]]
                elif what == "delay":
                    told = compare(*arguments, "--rate", "20000", "--delay")
                else:
                    told = compare(*arguments, *window, *(("--echo",) if what == "echo" else ("--gso", "16")))
                if options.json:
                    print(json.dumps({"what": what, "flows": flows, "size": options.size} | told), flush=True)
                else:
                    print(f"{what}, {flows} flows, {options.size} bytes")
                    for name, figures in told.items():
                        print(f"  {name:40} {figures}", flush=True)


if __name__ == "__main__":
    main()

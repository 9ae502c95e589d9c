"""Relays on the page: added and ended as clients are; a conversation is a pair of lanes, with a drawer of its own."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.axe import SIZES, look_over
from browser.conftest import DEADLINE_MS, Open, Visit
from browser.test_endpoints import add
from support import program
from support.program import Program


@pytest.fixture(scope="module")
def empty() -> Iterator[Program]:
    with program.ephemeral("--clients", "0") as running:
        yield running


@dataclass
class Echo:
    """A target that a client talks to through a relay."""

    target: socket.socket
    client: socket.socket

    def exchange(self, listen: str, payloads: list[bytes]) -> None:
        """Send these to the relay, and answer each that gets through with its bytes twice."""
        host, _, port = listen.rpartition(":")
        for payload in payloads:
            self.client.sendto(payload, (host, int(port)))
            try:
                data, source = self.target.recvfrom(70_000)
            except TimeoutError:
                continue
            self.target.sendto(data * 2, source)
            self.client.recv(70_000)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with ExitStack() as stack:
        target, client = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        target.bind(("127.0.0.1", 0))
        target.settimeout(10)
        client.bind(("127.0.0.1", 0))
        client.settimeout(10)
        yield Echo(target, client)


def address_of(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname())


def forget_what_ended(one: Visit) -> None:
    """Chromium notes each answer that something is gone, which the page may ask for just as it goes."""
    one.errors[:] = [error for error in one.errors if "status of 404" not in error]


@pytest.fixture
def relay(empty: Program) -> Iterator[Callable[..., dict[str, Any]]]:
    """Begin one over REST; it ends with the test."""
    made: list[str] = []

    def begin(**asked: Any) -> dict[str, Any]:
        body: dict[str, Any] = empty.ask("POST", "/api/relays", asked)
        made.append(body["id"])
        return body

    yield begin
    for relay_id in made:
        empty.ask("DELETE", f"/api/relays/{relay_id}")


def test_a_relay_is_added_seen_ended_and_brought_back_as_it_was(visit: Open, empty: Program, echo: Echo) -> None:
    one = visit(empty.page + "/?view=endpoints")
    page = one.page
    add(page, "relays", target=address_of(echo.target), name="wan", idle_s="77")
    row = page.locator("[data-kind=relays] tbody tr")
    expect(row.locator("th")).to_have_text("wan", timeout=DEADLINE_MS)  # a process starts
    [made] = empty.get("/api/relays")["relays"]
    expect(page.locator(".relay-conversations")).to_contain_text(f"No conversation yet: send to {made['listen']}")
    rule = {"action": "drop", "direction": "up", "nth": 3}
    empty.ask("PATCH", f"/api/relays/{made['id']}", {"up": {"delay_ms": 1}, "rules": [rule]})
    expect(row.locator("[data-label='To']")).to_have_text(address_of(echo.target))
    echo.exchange(made["listen"], [b"x"])
    expect(row.locator("[data-label='Conversations']")).to_have_text("1")
    expect(row.locator("[data-label='→ in']")).to_have_text("1")
    page.get_by_role("button", name="End the relay wan").click()
    expect(row).to_have_count(0)
    expect(page.locator(".conversation")).to_have_count(0)
    expect(page.get_by_text("Ended the relay wan").first).to_be_visible(timeout=DEADLINE_MS)
    page.get_by_role("button", name="Undo").last.click()
    expect(row.locator("th")).to_have_text("wan", timeout=DEADLINE_MS)  # a process starts
    [again] = empty.get("/api/relays")["relays"]
    assert again["id"] != made["id"]
    kept = ("listen", "target", "idle_s", "any_port")
    assert [again[name] for name in kept] == [made[name] for name in kept]
    assert (again["up"]["delay_ms"], again["rules"][0]["nth"]) == (1, 3)
    page.get_by_role("button", name="End the relay wan").click()
    expect(row).to_have_count(0)
    forget_what_ended(one)


def test_a_conversation_is_a_pair_of_lanes_whose_gaps_name_their_cause(
    visit: Open, empty: Program, relay: Callable[..., dict[str, Any]], echo: Echo
) -> None:
    made = relay(target=address_of(echo.target), rules=[{"action": "drop", "direction": "down", "nth": 2}])
    host, _, port = made["listen"].rpartition(":")
    for size in (20, 400, 0):
        echo.client.sendto(bytes(size), (host, int(port)))
        _, source = echo.target.recvfrom(70_000)
        echo.target.sendto(b"answer", source)
    page = visit(empty.page + "/?view=endpoints").page
    lanes = page.locator(".conversation .relay-lane")
    expect(lanes).to_have_count(2)
    expect(lanes.first).to_have_attribute("aria-label", "to the target: last 3 datagrams of 0 to 400 bytes, 0 lost")
    expect(lanes.last).to_have_attribute("aria-label", "back to the client: last 3 datagrams of 6 to 6 bytes, 1 lost")
    expect(page.locator(".relay-conversations .key")).to_contain_text("size: 16 bytes or less")
    box = lanes.last.bounding_box()
    assert box is not None
    cell_px = 4  # the second newest of three cells
    page.mouse.move(box["x"] + box["width"] - 1.5 * cell_px, box["y"] + 5)
    expect(lanes.last).to_have_attribute("title", "6 bytes, lost by the link or a rule")
    drawn = lanes.first.evaluate(
        """canvas => {
          const { data } = canvas.getContext("2d").getImageData(0, 2, canvas.width, 1);
          const at = (fromRight) => [...data.slice(4 * (canvas.width - fromRight), 4 * (canvas.width - fromRight) + 3)];
          return [at(12), at(8), at(4)];
        }"""
    )
    small, large, none = (tuple(colour) for colour in drawn)
    assert small != large, "sizes have colours of their own"
    assert small != none or large != none


def test_the_drawer_has_both_sums_both_links_and_the_bytes(
    visit: Open, empty: Program, relay: Callable[..., dict[str, Any]], echo: Echo
) -> None:
    made = relay(target=address_of(echo.target))
    echo.exchange(made["listen"], [b"hello, relay"])
    one = visit(empty.page + "/?view=endpoints")
    page = one.page
    page.get_by_role("button", name=f"Conversation of {address_of(echo.client)}").click()
    expect(page.locator("#drawer-title")).to_have_text(address_of(echo.client))
    sums = page.locator("#relayed-sums tr")
    expect(sums.nth(0)).to_have_text(re.compile(r"^In11$"))
    expect(page.locator("#relayed-bytes")).to_contain_text("68 65 6c 6c 6f 2c 20 72 65 6c 61 79")
    look_over(page, "#drawer", SIZES[-1:])
    page.select_option("#relayed-way", "down")
    expect(page.locator("#relayed-datagrams tr").first).to_contain_text("24 B")
    down_only = re.compile(rf"history\?.*flow={made['id']}-0-down")
    expect(page.locator("#relayed-past #past-csv")).to_have_attribute("href", down_only)
    up = page.locator("#relayed-links .link-editor").first
    flow = f"/api/relays/{made['id']}/flows/{made['id']}-0"
    up.locator(".slider", has_text="Loss").first.locator("[type=number]").fill("100")
    page.wait_for_function("() => !document.querySelector('#relayed-links .link-clear').disabled")
    assert empty.get(flow)["links"]["up"]["loss_ratio"] == 1
    assert empty.get(f"/api/relays/{made['id']}")["up"]["loss_ratio"] == 0, "of this conversation alone"
    host, _, port = made["listen"].rpartition(":")
    echo.client.sendto(b"gone", (host, int(port)))
    expect(sums.nth(2)).to_have_text(re.compile("10$"))
    page.select_option("#relayed-scope", "relay")
    down = page.locator("#relayed-links .link-editor").last
    down.locator(".slider", has_text="Delay").locator("[type=number]").fill("7")
    expect(down.locator(".link-error")).to_be_empty()
    page.wait_for_function(f"async () => (await (await fetch('/api/relays/{made['id']}')).json()).down.delay_ms === 7")
    port_before = empty.get(flow)["local_address"]
    page.click("#relayed-rebind")
    expect(page.locator("#relayed-facts")).not_to_contain_text(port_before)
    page.click("#relayed-end")
    expect(page.locator("#drawer-gone")).to_have_text("This conversation has ended, or its relay has ended.")
    forget_what_ended(one)

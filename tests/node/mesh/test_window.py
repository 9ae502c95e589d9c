"""The window on paths that are simulated here: a fixed delay, and a queue before a rate."""

from __future__ import annotations

import heapq

from udprism.node.mesh.window import AskingWindow


def simulated(seconds: float, nodes: int, delay_s: float, serve_s: float) -> tuple[AskingWindow, list[float]]:
    """Ages of the answers in the last half. Each answer takes the path for `serve_s`, then `delay_s`."""
    window, now_s, free_s = AskingWindow(), 0.0, 0.0
    answers: list[tuple[float, float]] = []
    ages: list[float] = []
    while now_s < seconds:
        while window.has_room:
            window.asked()
            free_s = max(free_s, now_s) + serve_s
            heapq.heappush(answers, (free_s + delay_s, now_s))
        now_s, asked_s = heapq.heappop(answers)
        window.answered(now_s - asked_s, now_s, nodes)
        if now_s > seconds / 2:
            ages.append(now_s - asked_s)
    return window, ages


def test_a_long_path_that_is_free_is_filled() -> None:
    window, ages = simulated(60, nodes=20, delay_s=0.1, serve_s=0.001)
    assert window.width > 20
    assert max(ages) < 0.3


def test_a_thin_path_keeps_answers_young() -> None:
    _, ages = simulated(120, nodes=20, delay_s=0.01, serve_s=0.3)  # 80 KiB at 2 Mbit/s
    assert sorted(ages)[len(ages) * 95 // 100] < 1.5
    assert len(ages) > 0.9 * 60 / 0.3  # and the path is used


def test_what_was_given_up_leaves_room_again() -> None:
    window = AskingWindow()
    while window.has_room:
        window.asked()
    window.given_up()
    while window.out:
        window.given_up()
    assert window.width >= 1
    assert window.has_room

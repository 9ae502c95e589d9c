"""What a datagram costs as work grows: runs the grid, and draws its curves as SVG without a library.

python tests/bench/curve.py run grid.json        # some minutes; one `udprism bench` a point
python tests/bench/curve.py draw grid.json cost.svg
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CLIENTS, RATES_HZ, VIEWERS = [10, 100, 1000, 10_000], [1, 10, 60], [1, 10, 200]
SECONDS = 4
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 64, 40, 48, 56
INK, GRID = "#555", "#ccc"
# Told apart without colour as well: each line has its own dashes and its name at its end.
STYLES = {1: ("#0072b2", ""), 10: ("#d55e00", "7 4"), 60: ("#009e73", "2 3")}

Point = dict[str, Any]


def run(path: Path) -> None:
    """Measures each point of the grid and writes all of them."""
    points: list[Point] = []
    for clients, rate_hz, viewers in grid():
        command = [sys.executable, "-m", "udprism", "bench", "--no-baselines", "--json"]
        command += ["--clients", str(clients), "--rate-hz", str(rate_hz), "--viewers", str(viewers)]
        ran = subprocess.run([*command, "--seconds", str(SECONDS)], stdout=subprocess.PIPE, check=True)
        points.append({name: value for name, value in json.loads(ran.stdout).items() if name != "steps"})
        path.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")


def grid() -> Iterator[tuple[int, int, int]]:
    """All clients at all rates with one viewer, and 1,000 clients at 10 Hz with more."""
    for rate_hz in RATES_HZ:
        for clients in CLIENTS:
            yield clients, rate_hz, 1
    for viewers in VIEWERS[1:]:
        yield 1000, 10, viewers


Scale = Callable[[float], float]


def draw(points: list[Point]) -> str:
    """The curve: processor time a datagram over datagrams a second, a line for each rate."""
    drawn = [point for point in points if point["viewers"] == 1 and point["cpu_us_per_datagram"]]
    x_decades = decades([point["delivered_per_s"] for point in drawn])
    y_decades = decades([point["cpu_us_per_datagram"] for point in drawn])
    x, y = scale(x_decades, LEFT, WIDTH - RIGHT), scale(y_decades, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>Processor time a datagram, over datagrams a second</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 22, "Processor time a datagram (µs, all threads of the product, one viewer)", size=14),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "datagrams delivered a second", anchor="middle"),
    ]
    for value in (10**exponent for exponent in range(x_decades[0], x_decades[1] + 1)):
        parts.append(line(x(value), TOP, x(value), HEIGHT - BOTTOM))
        parts.append(text(x(value), HEIGHT - BOTTOM + 18, f"{value:,}", "middle"))
    for value in (10**exponent for exponent in range(y_decades[0], y_decades[1] + 1)):
        parts.append(line(LEFT, y(value), WIDTH - RIGHT, y(value)))
        parts.append(text(LEFT - 8, y(value) + 4, f"{value:,}", "end"))
    for rate_hz in STYLES:
        series = sorted((one for one in drawn if one["rate_hz"] == rate_hz), key=lambda one: int(one["clients"]))
        parts += curve(series, rate_hz, x, y)
    return "\n".join([*parts, "</svg>", ""])


def curve(series: list[Point], rate_hz: int, x: Scale, y: Scale) -> Iterator[str]:
    """One rate's line, a dot for each number of clients, and the line's name."""
    colour, dashes = STYLES[rate_hz]
    places = [(x(one["delivered_per_s"]), y(one["cpu_us_per_datagram"])) for one in series]
    path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
    for (across, down), one in zip(places, series, strict=True):
        told = f"{one['clients']:,} clients at {rate_hz} Hz: {one['cpu_us_per_datagram']:.2f} µs"
        yield f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{colour}"><title>{told}</title></circle>'
    for across, down in places[:1]:
        yield text(across + 8, down - 8, f"{rate_hz} Hz", colour=colour)


def scale(of_decades: tuple[int, int], first: float, last: float) -> Scale:
    """Where a value lies on a logarithmic axis from `first` to `last`."""
    low, high = of_decades
    return lambda value: first + (math.log10(value) - low) / (high - low) * (last - first)


def decades(values: list[float]) -> tuple[int, int]:
    """The powers of ten around these values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID}"/>'


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{words}</text>'


def main() -> None:
    match sys.argv[1:]:
        case ["run", out]:
            run(Path(out))
        case ["draw", source, out]:
            Path(out).write_text(draw(json.loads(Path(source).read_text(encoding="utf-8"))), encoding="utf-8")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""The drawing of what a datagram costs."""

from __future__ import annotations

from xml.dom import minidom

from bench import curve


def test_the_curve_has_a_line_for_each_rate_and_a_dot_for_each_number_of_clients() -> None:
    points = [
        {"clients": clients, "rate_hz": rate_hz, "viewers": 1, "delivered_per_s": clients * rate_hz}
        | {"cpu_us_per_datagram": 3 + 500 / (clients * rate_hz)}
        for clients, rate_hz, viewers in curve.grid()
        if viewers == 1
    ]
    drawing = minidom.parseString(curve.draw(points))
    assert len(drawing.getElementsByTagName("polyline")) == len(curve.RATES_HZ)
    assert len(drawing.getElementsByTagName("circle")) == len(curve.RATES_HZ) * len(curve.CLIENTS)

"""A scenario's run as one HTML file: settings, seed, versions, verdicts, figures and pictures. Pure."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from udprism.node.bodies.history import HistoryBody
from udprism.node.scenario import DELAYS, EVERYBODY, RATIOS, Results, Scenario

_WIDTH, _HEIGHT, _LEFT, _BELOW = 880, 150, 64, 22
_WIDE, _HIGH = _WIDTH - _LEFT, _HEIGHT - _BELOW
_COLOURS = ("#0b57d0", "#b3261e", "#855000", "#0a6b3d", "#7b3fb5")
_MOST_ROWS = 1000
_MEASURES = ("sent", "received", "lost", *RATIOS, *DELAYS)
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; max-width: 920px; margin: 24px auto; padding: 0 16px; color: #151a21; background: #fff }
h1 { font-size: 22px } h2 { font-size: 16px; margin-top: 28px }
table { border-collapse: collapse; font-size: 13px } th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #dbe0e7 }
.scroll { overflow-x: auto } td { font-variant-numeric: tabular-nums }
.good { color: #0a6b3d; font-weight: 600 } .bad { color: #b3261e; font-weight: 600 } .void { color: #855000; font-weight: 600 }
svg { max-width: 100%; height: auto } pre { background: #f4f6f8; padding: 10px; overflow-x: auto }
"""  # noqa: E501

Line = tuple[str, Sequence[float | None]]


def report_html(
    scenario: Scenario, verdict: Mapping[str, Any], results: Results, history: HistoryBody, facts: Mapping[str, str]
) -> str:
    """The whole file; it loads nothing from elsewhere.

    verdict: as `play.verdict` makes it. history: of the run's time. facts: versions and machine, in words.
    """
    title = html.escape(scenario.title)
    columns, marks = history["columns"], [(event["at"], event["text"]) for event in history["events"]]
    when = datetime.fromtimestamp(history["from"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    settings = {
        "Began": when,
        "Clients": str(len(scenario.clients)),
        "Rate of each": f"{scenario.rate_hz:g} datagrams/s",
        "Duration": f"{scenario.duration_s:g} s",
        "Seed": str(scenario.seed),
        "Schedule kept": _shown("loss_ratio", verdict["schedule_kept_ratio"]),
        **facts,
    }
    frame = (history["from"], history["step_s"], marks)
    parts = [
        f"<h1>{title}</h1>",
        _judgement(verdict),
        _table(("What was expected", "Measured", "Verdict"), _expectations(verdict)),
        "<h2>Settings</h2>",
        _table(None, ((html.escape(name), html.escape(value)) for name, value in settings.items())),
        "<h2>Steps</h2>",
        _table(("At", "To", "Link"), _steps(scenario)),
        "<h2>Over time</h2>",
        _picture("Received, datagrams/s", [("received", columns["rate_hz"])], *frame),
        _picture("Lost, datagrams/s, by cause", list(columns["lost_by_cause"].items()), *frame),
        _picture("Delay, ms", list(columns["delay_ms"].items()), *frame),
        _picture("Jitter, ms", [("jitter", columns["jitter_ms"])], *frame),
        "<h2>Figures</h2>",
        '<div class="scroll">' + _table(("", *_MEASURES), _figures(scenario, results)) + "</div>",
        "<h2>The same for programs</h2>",
        f"<details><summary>JSON</summary><pre>{html.escape(json.dumps(verdict, indent=1))}</pre></details>",
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: udprism</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _judgement(verdict: Mapping[str, Any]) -> str:
    if verdict["met"] is None:
        return '<p class="void">No verdict: the sender did not keep its schedule, or the run was stopped.</p>'
    if not verdict["expectations"]:
        return "<p>The scenario has no expectations.</p>"
    if verdict["met"]:
        return f'<p class="good">All {len(verdict["expectations"])} expectations are met.</p>'
    failed = sum(one["met"] is False for one in verdict["expectations"])
    return f'<p class="bad">{failed} of {len(verdict["expectations"])} expectations failed.</p>'


def _expectations(verdict: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    words = {True: '<span class="good">met</span>', False: '<span class="bad">not met</span>', None: "void"}
    for one in verdict["expectations"]:
        measured = "unknown" if one["measured"] is None else f"{one['measured']:g}"
        yield html.escape(one["text"]), measured, words[one["met"]]


def _steps(scenario: Scenario) -> Iterable[tuple[str, ...]]:
    for step in scenario.timeline:
        link = html.escape(json.dumps(step.link.to_body()))
        what = "" if step.what == "link" else f"{html.escape(step.what)} "
        yield f"{step.at_s:g} s", html.escape(", ".join(step.clients) or EVERYBODY), f"{what}<code>{link}</code>"


def _figures(scenario: Scenario, results: Results) -> Iterable[tuple[str, ...]]:
    for name in (EVERYBODY, *scenario.clients[:_MOST_ROWS]):
        yield html.escape(name), *(_shown(measure, results[name][measure]) for measure in _MEASURES)


def _shown(measure: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    if measure in RATIOS:
        return f"{value:.2%}"
    return f"{value:.1f}" if measure in DELAYS else f"{value:,.0f}"


def _table(head: tuple[str, ...] | None, rows: Iterable[tuple[str, ...]]) -> str:
    """Cells are HTML already."""
    cells = "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in head or ())
    first = f"<tr>{cells}</tr>" if head else ""
    lines = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{first}{''.join(lines)}</table>"


def _picture(title: str, lines: list[Line], from_s: float, step_s: float, marks: list[tuple[float, str]]) -> str:
    """Curves of one axis as SVG, with marks where something happened. A gap is what is not known."""
    length_s = max(max((len(values) for _, values in lines), default=0) * step_s, 1e-9)
    most = max((value for _, values in lines for value in values if value is not None), default=0) or 1.0
    parts = [_word(_LEFT - 6, 12, "end", f"{most:.4g}"), _word(_LEFT - 6, _HIGH, "end", "0")]
    ticks = (0, 0.25, 0.5, 0.75)
    parts += [_word(_LEFT + part * _WIDE, _HEIGHT - 6, "middle", f"{part * length_s:.3g} s") for part in ticks]
    for at_s, text in marks:
        if 0 <= at_s - from_s <= length_s:
            place = f"M{_LEFT + (at_s - from_s) / length_s * _WIDE:.1f} 0V{_HIGH}"
            note = html.escape(text)
            parts.append(f'<path d="{place}" stroke="#838d9b" stroke-dasharray="3 3"><title>{note}</title></path>')
    shown = [line for line in lines if any(line[1])] or lines[:1]
    key = []
    for number, (name, values) in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        path = _path(values, step_s / length_s * _WIDE, most)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        key.append(f'<b style="color:{colour}">{html.escape(name)}</b>')
    said = html.escape(title)
    return (
        f'<p>{said}: {", ".join(key)}</p><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{said}" '
        f'font-size="11" fill="#545e6c"><path d="M{_LEFT} 0V{_HIGH}H{_WIDTH}" fill="none" stroke="#838d9b"/>'
        f"{''.join(parts)}</svg>"
    )


def _word(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def _path(values: Sequence[float | None], step_px: float, most: float) -> str:
    """Each value in the middle of its step; a new beginning after a gap."""
    words, pen = [], "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        words.append(f"{pen}{_LEFT + (place + 0.5) * step_px:.1f} {_HIGH - value / most * _HIGH:.1f}")
        pen = "L"
    return "".join(words)

"""Throughput against latency, as an SVG that needs nothing to be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 64, 76, 36, 48
LINES = (("p50_ms", "p50", "#2a7f62"), ("p99_ms", "p99", "#c77700"), ("p999_ms", "p99.9", "#b3261e"))
_STYLE = "font-family='sans-serif' font-size='12'"


def svg(steps: Sequence[dict[str, Any]], title: str) -> str:
    """`steps`: figures of a ramp, each with ``calls_per_s`` and the three percentiles. Latency on a logarithmic
    axis."""
    most = max(step["calls_per_s"] for step in steps) * 1.05
    values = [max(step[name], 0.1) for step in steps for name, _, _ in LINES]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def x(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * rate / most

    def y(value_ms: float) -> float:
        share = (math.log10(max(value_ms, 10**low)) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {_STYLE}>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
        f"<text x='{LEFT}' y='20' font-size='14'>{title}</text>",
    ]
    for power in range(low, high + 1):
        at = y(10**power)
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{at:.1f}' y2='{at:.1f}' stroke='#ddd'/>")
        parts.append(f"<text x='{LEFT - 8}' y='{at + 4:.1f}' text-anchor='end'>{10**power:g} ms</text>")
    for step in steps:
        at = x(step["calls_per_s"])
        parts.append(
            f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{HEIGHT - BOTTOM}' y2='{HEIGHT - BOTTOM + 5}' stroke='#555'/>"
        )
        parts.append(
            f"<text x='{at:.1f}' y='{HEIGHT - BOTTOM + 18}' text-anchor='middle'>{step['calls_per_s']:.0f}</text>"
        )
    parts.append(f"<text x='{WIDTH / 2}' y='{HEIGHT - 8}' text-anchor='middle'>calls a second</text>")
    for name, label, colour in LINES:
        points = [(x(step["calls_per_s"]), y(step[name])) for step in steps]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{a:.1f}' cy='{b:.1f}' r='3' fill='{colour}'/>" for a, b in points]
        a, b = points[-1]
        parts.append(f"<text x='{a + 8:.1f}' y='{b + 4:.1f}' fill='{colour}'>{label}</text>")
    return "\n".join([*parts, "</svg>"]) + "\n"

"""A plot without a plotting library: delays against the number of meetings, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 760, 360, 60, 40, 50
SERIES = (("first_partial", "#7c8cf8"), ("word_commit", "#2f9e77"), ("final", "#e0803a"))
MIN_TOP_S = 2.5


def bars(runs: Sequence[dict[str, Any]]) -> str:
    """For each run a group of bars: the median solid, the 95th percentile pale behind it."""
    highest = max([MIN_TOP_S, *(run[name].get("p95", 0) for run in runs for name, _ in SERIES)]) * 1.05
    room = (WIDTH - LEFT - 20) / max(1, len(runs))
    bar = room / (len(SERIES) + 1.5)
    base = HEIGHT - BOTTOM

    def y(seconds: float) -> float:
        return float(base - seconds / highest * (base - TOP))

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y(second):.1f}" y2="{y(second):.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y(second) + 4:.1f}" text-anchor="end">{second} s</text>'
        for second in range(int(highest) + 1)
    ]
    for group, run in enumerate(runs):
        x = LEFT + group * room + bar * 0.75
        for offset, (name, colour) in enumerate(SERIES):
            for key, opacity in (("p95", 0.35), ("p50", 1.0)):
                top = y(run[name].get(key, 0.0))
                parts.append(
                    f'<rect x="{x + offset * bar:.1f}" y="{top:.1f}" width="{bar * 0.9:.1f}" '
                    f'height="{base - top:.1f}" fill="{colour}" opacity="{opacity}"/>'
                )
        parts.append(
            f'<text x="{x + bar * 1.5:.1f}" y="{base + 18}" text-anchor="middle">{run["sessions"]}</text>'
        )
    for offset, (name, colour) in enumerate(SERIES):
        parts.append(
            f'<rect x="{LEFT + offset * 150}" y="14" width="12" height="12" fill="{colour}"/>'
            f'<text x="{LEFT + 18 + offset * 150}" y="24">{name}</text>'
        )
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">meetings at the same time</text></svg>'
    )
    return "\n".join(parts) + "\n"

"""Draws docs/charts/NAME.svg from bench/out/NAME.json, which the measurements leave behind.

    python3 bench/chart.py [NAME...]           those named, or all that there is
"""

import json
import math
import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench/out"
CHARTS = ROOT / "docs/charts"

WIDTH = 760
LABEL_WIDTH = 190
PLOT_WIDTH = 450
ROW_HEIGHT = 26
BAR_HEIGHT = 16
MARGIN = 20
PANEL_GAP = 26
TICKS_WANTED = 5

# A card of its own, so that it can be read whatever the page behind it looks like.
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de }
  text { fill: #1f2328; font: 12px -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif }
  .title { font-weight: 600; font-size: 13px }
  .faint { fill: #59636e }
  .grid { stroke: #d8dee4 }
  .base { fill: #8c959f }
  .ours { fill: #2f81c7 }
  .spread { stroke: #1f2328; stroke-width: 1.5 }
  .mark { stroke: #c4432b; stroke-width: 1.5; stroke-dasharray: 5 3 }
  .marked { fill: #b03a24 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc }
    .faint { fill: #9198a1 }
    .grid { stroke: #2b3138 }
    .base { fill: #7d8590 }
    .ours { fill: #4493d8 }
    .spread { stroke: #f0f6fc }
    .mark { stroke: #f0775f }
    .marked { fill: #f0886f }
  }
"""


@dataclass
class Bar:
    """A median, with the least and the most of the rounds. What others are measured by is drawn as `base`."""

    label: str
    values: list
    is_base: bool = False


@dataclass
class Panel:
    """Bars over one axis, and the values that are asked, with what to write at each."""

    title: str
    axis: str
    bars: list
    marks: list = field(default_factory=list)

    @property
    def height(self):
        return 44 + ROW_HEIGHT * len(self.bars) + 34


def main():
    names = sys.argv[1:] or [name for name in PANELS if (OUT / f"{name}.json").exists()]
    CHARTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        panels = PANELS[name](json.loads((OUT / f"{name}.json").read_text()))
        path = CHARTS / f"{name}.svg"
        path.write_text(svg(panels))
        print(path.relative_to(ROOT))


def cdn_only(raw):
    panels = []
    for quantity, what in [("wall_seconds", "wall time"), ("cpu_seconds", "processor time")]:
        bars = [Bar(f"zest from {server}", ratios(rounds, quantity, "zest", "hf")) for server, rounds in raw["sections"].items()]
        bars.insert(0, Bar("hf download", [1.0], is_base=True))
        panels.append(Panel(f"{what} of a pull", "of what hf download takes", bars, [(0.7, "asked ≤ 0.7")]))
    bars = [
        Bar(f"{client} from {server}", of(rounds, "peak_rss_mib", client), client == "hf")
        for server, rounds in raw["sections"].items() for client in ("hf", "zest")
    ]
    panels.append(Panel("peak resident memory", "MiB", bars, [(64, "asked ≤ 64")]))
    return panels


def one_peer(raw):
    mbit, sections = raw["mbit"], raw["sections"]
    title = f"origin's link {mbit['origin']:g} Mbit/s, the peer's {mbit['peer']:g} Mbit/s"
    gigabytes = raw["loopback_bytes"] / 1e9
    loopback = sections["loopback"]
    cpu = [
        Bar(name, [seconds / gigabytes for seconds in of(loopback, "cpu_seconds", name)], name == "cdn_only")
        for name in ["cdn_only", *[name for name in loopback[0] if name != "cdn_only"]]
    ]
    return [
        walls(title, sections["links"], "cdn_only", 0.6),
        walls("loopback: wall time", loopback, "cdn_only", 1.0),
        Panel("loopback: processor time of the puller", "seconds a GB", cpu),
    ]


def many_peers(raw):
    rounds = raw["sections"]["links"]
    bars = [
        Bar(name, [raw["bytes"] / wall / links for wall in of(rounds, "wall_seconds", name)], name == "cdn_only")
        for name, links in raw["links"].items()
    ]
    marks = [(0.9, "asked ≥ 0.9"), (raw["payload"], "")]
    axis = "of the sum of the links (second line: what TCP's headers leave of them)"
    return [Panel("file bytes a second", axis, bars, marks)]


def never_slower(raw):
    rounds = raw["sections"]["links"]
    base = median(of(rounds, "wall_seconds", "no peer"))
    most = raw["ratio_most"] * base + raw["extra_seconds"]
    names = ["no peer", *[name for name in rounds[0] if name != "no peer"]]
    bars = [Bar(name, of(rounds, "wall_seconds", name), name == "no peer") for name in names]
    return [Panel("a pull with peers of no use", "seconds", bars, [(most, f"asked ≤ {most:.2f}")])]


def fan_out(raw):
    counts = list(raw["medians"])

    def bars(value):
        return [Bar(f"{count} pulls", [value(result[count], raw["medians"][count]) for result in raw["rounds"]])
                for count in counts]

    return [
        Panel("copies that the origin sent", "of the repository", bars(lambda one, _: one["origin_copies"]), [(1, "least: 1")]),
        Panel("when the last pull is done", "of what the links allow",
              bars(lambda one, middle: one["last_seconds"] / middle["bound_seconds"]), [(1, "the bound")]),
    ]


PANELS = {
    "cdn_only": cdn_only,
    "one_peer": one_peer,
    "many_peers": many_peers,
    "never_slower": never_slower,
    "fan_out": fan_out,
}


def walls(title, rounds, base, most):
    bars = [Bar(name, ratios(rounds, "wall_seconds", name, base)) for name in rounds[0] if name != base]
    bars.insert(0, Bar(base, [1.0], is_base=True))
    return Panel(title, f"wall time, of {base}", bars, [(most, f"asked ≤ {most:g}")])


def of(rounds, quantity, name):
    return [costs[name][quantity] for costs in rounds]


def ratios(rounds, quantity, name, base):
    return [ours / theirs for ours, theirs in zip(of(rounds, quantity, name), of(rounds, quantity, base))]


def svg(panels):
    height = 2 * MARGIN + sum(panel.height for panel in panels) + PANEL_GAP * (len(panels) - 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(described(panels))}">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
    ]
    top = MARGIN
    for panel in panels:
        parts += drawn(panel, top)
        top += panel.height + PANEL_GAP
    return "\n".join([*parts, "</svg>", ""])


def described(panels):
    """The figures in words, for those who do not see them."""
    def bars(panel):
        return ", ".join(f"{bar.label} {shown(median(bar.values))}" for bar in panel.bars)

    return "; ".join(f"{panel.title} ({panel.axis}): {bars(panel)}" for panel in panels)


def drawn(panel, top):
    largest = max([max(bar.values) for bar in panel.bars] + [value for value, _ in panel.marks])
    step = nice_step(largest)
    end = step * math.ceil(largest / step)
    left = MARGIN + LABEL_WIDTH
    first, last = top + 44, top + 44 + ROW_HEIGHT * len(panel.bars)

    def x(value):
        return left + PLOT_WIDTH * value / end

    parts = [text(MARGIN, top + 12, panel.title, "title")]
    for tick in range(round(end / step) + 1):
        at = x(tick * step)
        parts.append(line(at, first - 4, at, last, "grid"))
        parts.append(text(at, last + 15, shown(tick * step, step), "faint", "middle"))
    parts.append(text(left + PLOT_WIDTH / 2, last + 31, panel.axis, "faint", "middle"))
    for number, bar in enumerate(panel.bars):
        middle, y = median(bar.values), first + ROW_HEIGHT * number
        center = y + BAR_HEIGHT / 2
        parts.append(text(left - 8, center + 4, bar.label, anchor="end"))
        style = "base" if bar.is_base else "ours"
        parts.append(f'<rect class="{style}" x="{left}" y="{y}" width="{x(middle) - left:.1f}" height="{BAR_HEIGHT}"/>')
        if len(bar.values) > 1:
            parts.append(line(x(min(bar.values)), center, x(max(bar.values)), center, "spread"))
        parts.append(text(left + PLOT_WIDTH + 12, center + 4, shown(middle), "title"))
    for value, label in panel.marks:
        parts.append(line(x(value), first - 8, x(value), last, "mark"))
        parts.append(text(x(value), first - 12, label, "marked", "middle"))
    return parts


def nice_step(largest):
    """The distance of ticks: 1, 2 or 5 times a power of ten."""
    rough = largest / TICKS_WANTED
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def shown(value, step=None):
    """A figure as it is read; a tick with as many digits as its distance needs."""
    if step is not None:
        return f"{value:.{max(0, -math.floor(math.log10(step)))}f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def line(x1, y1, x2, y2, style):
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x, y, content, style="", anchor="start"):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


if __name__ == "__main__":
    main()

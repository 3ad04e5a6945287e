"""Tables in Markdown for docs/benchmarks.md, and the raw figures behind them in bench/out/*.json."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

OUT = Path(__file__).resolve().parent / "out"
GB = 1_000_000_000
# Contenders in a table of rounds that has ratios too.
RATIOS_OF_MOST = 4


@dataclass
class Promise:
    """What was asked of a figure, and what it is. `most` or `least` is the bound."""

    what: str
    measured: float
    most: float = None
    least: float = None

    @property
    def holds(self):
        return self.measured <= self.most if self.most is not None else self.measured >= self.least

    def row(self):
        asked = f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"
        verdict = "" if self.holds else ": missed"
        return [self.what, asked, f"**{self.measured:.2f}**{verdict}"]


def table(titles, rows):
    print("|", " | ".join(titles), "|")
    print("|" + "---|" * len(titles))
    for cells in rows:
        print("|", " | ".join(cells), "|")
    print(flush=True)


def heading(options, text):
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    print(f"\n{text}: {options.bytes} bytes, seed {options.seed}, {options.pairs} rounds; {machine}\n")


def promises(rows):
    table(["", "asked", "measured"], [promise.row() for promise in rows])


def medians(rounds, base, size):
    """What each contender costs. Ratios are medians of the rounds' ratios, not ratios of the medians."""

    def row(name):
        def middle(quantity):
            return median(getattr(costs[name], quantity) for costs in rounds)

        def over(quantity):
            return "" if name == base else f"**{ratio(rounds, quantity, name, base):.3f}**"

        return [
            name,
            f"{middle('wall_seconds'):.2f}",
            over("wall_seconds"),
            f"{middle('cpu_seconds'):.2f}",
            over("cpu_seconds"),
            f"{middle('cpu_seconds') * GB / size:.2f}",
            f"{middle('peak_rss_mib'):.0f}",
            f"{middle('server_cpu_seconds'):.2f}",
            from_peers([costs[name] for costs in rounds]),
        ]

    titles = ["median", "wall, s", f"/ {base}", "CPU, s", f"/ {base}", "CPU, s a GB", "peak RSS, MiB"]
    table([*titles, "servers' CPU, s", "from peers"], [row(name) for name in sorted_names(rounds, base)])


def each_round(rounds, base):
    """The wall time of every run, and the ratios, if that does not become too wide."""
    names = sorted_names(rounds, base)
    compared = names[1:] if len(names) <= RATIOS_OF_MOST else []

    def row(number, costs):
        walls = [f"{costs[name].wall_seconds:.2f}" for name in names]
        ratios = [f"{costs[name].wall_seconds / costs[base].wall_seconds:.3f}" for name in compared]
        return [str(number), next(iter(costs)), *walls, *ratios]

    titles = ["round", "first", *[f"{name}, s" for name in names], *[f"{name} / {base}" for name in compared]]
    table(titles, [row(number, costs) for number, costs in enumerate(rounds, 1)])


def ratio(rounds, quantity, name, base):
    """Median over the rounds of what one contender needs of what another does."""
    pairs = [(getattr(costs[name], quantity), getattr(costs[base], quantity)) for costs in rounds]
    return median(ours / theirs if theirs else float("nan") for ours, theirs in pairs)


def middle_of(rounds, quantity, name):
    return median(getattr(costs[name], quantity) for costs in rounds)


def from_peers(costs):
    """The part of the files that peers brought, median; nothing where the program does not tell."""
    if not all(cost.file_bytes for cost in costs):
        return ""
    parts = []
    for cost in costs:
        fetched = {source: count for source, count in cost.file_bytes.items() if source != "local"}
        parts.append(1 - fetched["cdn"] / max(1, sum(fetched.values())))
    return f"{median(parts):.0%}"


def sorted_names(rounds, base):
    """The base first, then the others as they were given: the first round began with the first."""
    return [base, *[name for name in rounds[0] if name != base]]


def keep(options, name, sections, **more):
    """Writes bench/out/NAME.json: {section: rounds} of costs, and whatever else there is to draw."""
    raw = {
        section: [{contender: asdict(cost) for contender, cost in costs.items()} for costs in rounds]
        for section, rounds in sections.items()
    }
    OUT.mkdir(exist_ok=True)
    whole = {"bytes": options.bytes, "seed": options.seed, "sections": raw, **more}
    (OUT / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")

#!/usr/bin/env python3
"""Turns measure.py's rows into the table.

    table.py [--header FILE] [--idle FILE] ROWS     the table, on standard output
    table.py --progress                             rows on standard input, a line each

Also reads a file that `run --tsv` wrote. Ends with code 1 when any measurement
had errors: its figures are then worth nothing.
"""

import argparse
import statistics
import sys

from measure import COLUMNS

# What is asked of larder: requests per second at least this many times nginx's,
# or processor time per request at most this share of nginx's.
TARGETS = {
    "get-450": (1.2, 0.8),
    "get-4k": (1.2, 0.8),
    "get-64k": (1.2, 0.8),
    "get-1m": (1.2, 0.8),
    "get-16m": (1.05, None),
    "miss": (1.2, None),
    "put-4k": (0.9, None),
    "put-1m": (1.5, None),
}
SATURATED_PCT = 90  # below this much use of its core, the server was not the limit
FOREIGN_PCT = 15  # more than this of a core by others, and a figure is doubtful
STOLEN_PCT = 10  # of both cores together, by the host
MOST_DOUBTFUL = 6  # lines about that
IDLE_MIB = 20


def read_rows(lines):
    rows = []
    for line in lines:
        fields = line.rstrip("\n").split("\t")
        if line.startswith("#") or fields[0] == COLUMNS[0] or len(fields) != len(COLUMNS):
            continue
        row = dict(zip(COLUMNS, fields))
        for column in COLUMNS[2:-1]:
            row[column] = float(row[column])
        rows.append(row)
    return rows


class Cell:
    """One case on one server: the medians over its rounds."""

    def __init__(self, rows):
        self.errors = int(sum(row["errors"] for row in rows))
        self.notes = sorted({row["note"] for row in rows if row["note"]})
        answered = [row for row in rows if row["requests"]] or rows
        # Where some rounds were quiet, the others would only blur them.
        good = [row for row in answered if row["other_pct"] <= FOREIGN_PCT] or answered
        self.left_out = len(answered) - len(good)
        self.quiet = all(row["other_pct"] <= FOREIGN_PCT and row["steal_pct"] <= STOLEN_PCT for row in good)
        self.per_s = statistics.median(row["per_s"] for row in good)
        self.cpu_us = statistics.median(row["cpu_us"] for row in good)
        self.used_pct = statistics.median(row["server_pct"] for row in good)
        self.other_pct = statistics.median(row["other_pct"] for row in good)
        self.steal_pct = statistics.median(row["steal_pct"] for row in good)
        low, high = min(r["per_s"] for r in good), max(r["per_s"] for r in good)
        self.spread_pct = 100 * (high - low) / 2 / self.per_s if self.per_s else 0
        self.rss_mib = max(row["rss_kib"] for row in rows) / 1024
        self.last_rss_mib = rows[-1]["rss_kib"] / 1024
        self.peak_mib = max(row["peak_kib"] for row in rows) / 1024

    def show(self):
        if self.errors:
            return [f"ERRORS {self.errors}", "", ""]
        free = "" if self.used_pct >= SATURATED_PCT else "c"
        rate = f"{self.per_s:,.0f}" if self.per_s >= 1000 else f"{self.per_s:.1f}"
        cpu = f"{self.cpu_us:,.1f}" if self.cpu_us < 1000 else f"{self.cpu_us:,.0f}"
        return [rate + free, f"±{self.spread_pct:.0f}%", cpu]


def verdict(case, ours, nginx, bazel):
    """What the targets say, or nothing where none is set."""
    out = []
    if nginx and case in TARGETS:
        rate_wanted, cpu_wanted = TARGETS[case]
        rate, cpu = ours.per_s / nginx.per_s, ours.cpu_us / nginx.cpu_us
        wanted = f"rate >= {rate_wanted}" + (f" or cpu <= {cpu_wanted}" if cpu_wanted else "")
        if rate >= rate_wanted:
            out.append(f"met ({wanted})")
        elif cpu_wanted and cpu <= cpu_wanted:
            out.append(f"met by cpu ({wanted})")
        elif not cpu_wanted and ours.used_pct < SATURATED_PCT and cpu <= 1 / rate_wanted:
            out.append(f"met by cpu, with time left ({wanted})")
        else:
            out.append(f"MISSED ({wanted})")
    if bazel:
        rate, cpu = ours.per_s / bazel.per_s, ours.cpu_us / bazel.cpu_us
        if rate < 1 and cpu >= 1:
            out.append("BEHIND bazel-remote")
    if out and not all(c.quiet for c in (ours, nginx, bazel) if c):
        out.append("not quiet: run again")
    return ", ".join(out)


def ratio(a, b):
    doubt = "" if a.quiet and b.quiet else "?"
    return [f"{a.per_s / b.per_s:.2f}{doubt}", f"{a.cpu_us / b.cpu_us:.2f}{doubt}"]


def layout(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    last = len(widths) - 1
    for line in lines:
        cells = [
            c.ljust(w) if i in (0, last) else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths))
        ]
        yield "  ".join(cells).rstrip()


def table(rows, idle):
    cases = list(dict.fromkeys(row["case"] for row in rows))
    known = ["nginx", "bazel-remote", "larder"]
    peers = [p for p in known if any(row["peer"] == p for row in rows)]
    cells = {}
    for case in cases:
        for peer in peers:
            own = [r for r in rows if r["case"] == case and r["peer"] == peer]
            if own:
                cells[case, peer] = Cell(own)

    heads, units = ["case"], [""]
    for peer in peers:
        heads += [peer, "", ""]
        units += ["req/s", "spread", "cpu µs"]
    others = [p for p in peers if p != "larder"] if "larder" in peers else []
    for peer in others:
        heads += ["larder /", peer.split("-")[0]]
        units += ["rate", "cpu"]
    lines = [heads + ["target"], units + [""]]
    for case in cases:
        line = [case]
        for peer in peers:
            cell = cells.get((case, peer))
            line += cell.show() if cell else ["-", "", ""]
        ours = cells.get((case, "larder"))
        sound = lambda c: c if c and not c.errors and c.per_s else None  # noqa: E731
        for peer in others:
            theirs = sound(cells.get((case, peer)))
            line += ratio(ours, theirs) if sound(ours) and theirs else ["-", "-"]
        judged = ""
        if sound(ours):
            nginx, bazel = (sound(cells.get((case, p))) for p in ("nginx", "bazel-remote"))
            judged = verdict(case, ours, nginx, bazel)
        lines.append(line + [judged])
    yield from layout(lines)

    yield ""
    yield "cpu µs: processor time of the server per request. spread: half of (highest - lowest) over the"
    yield f"rounds. c: the server used less than {SATURATED_PCT} % of its core: the client (or others) were the limit, and only cpu tells."
    yield "?: others were computing during one of the two."
    yield ""
    for peer in peers:
        own = {case: cells[case, peer] for case in cases if (case, peer) in cells}
        reads = [c for case, c in own.items() if case.startswith(("get", "miss"))]
        text = []
        if peer in idle:
            over = f" (MISSED: under {IDLE_MIB})" if peer == "larder" and idle[peer] >= IDLE_MIB else ""
            text.append(f"idle {idle[peer]:.1f} MiB{over}")
        if reads:
            text.append(f"after the reads {reads[-1].last_rss_mib:.0f}")
        for case, cell in own.items():
            if not case.startswith(("get", "miss")):
                text.append(f"after {case} {cell.rss_mib:.0f}")
        text.append(f"highest {max(c.peak_mib for c in own.values()):.0f} MiB")
        yield f"memory of {peer}: " + ", ".join(text)

    doubtful = sorted(
        (
            (c.other_pct, f"{case} on {peer}: {c.other_pct:.0f} % of a core by others, {c.steal_pct:.0f} % stolen")
            for (case, peer), c in cells.items()
            if not c.quiet
        ),
        reverse=True,
    )
    if doubtful:
        yield ""
        yield (
            f"NOT QUIET in {len(doubtful)} of {len(cells)} figures: somebody else was computing in every round"
        )
        yield from ("  " + line for _, line in doubtful[:MOST_DOUBTFUL])
        if len(doubtful) > MOST_DOUBTFUL:
            yield f"  and {len(doubtful) - MOST_DOUBTFUL} more, see other_pct in the TSV"
    if left_out := sum(c.left_out for c in cells.values()):
        yield f"{left_out} measurements were left out, because others were computing and a quieter round was there"
    broken = [(case, peer, c) for (case, peer), c in cells.items() if c.errors]
    for case, peer, cell in broken:
        yield f"ERRORS {cell.errors} in {case} on {peer}: " + " | ".join(cell.notes)


def progress():
    for row in read_rows(sys.stdin):
        errors = f"  ERRORS {row['errors']:.0f}" if row["errors"] else ""
        print(
            f"{row['case']:>9} {row['peer']:<12} round {row['round']:.0f}: "
            f"{row['per_s']:>11,.1f}/s {row['cpu_us']:>9,.1f} µs  core {row['server_pct']:.0f} %"
            f"  client {row['client_pct']:.0f} %  kernel {row['kernel_pct']:.0f} %  others {row['other_pct']:.0f} %{errors}"
        )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("rows", nargs="?")
    p.add_argument("--header")
    p.add_argument("--idle")
    p.add_argument("--progress", action="store_true")
    args = p.parse_args()
    if args.progress:
        progress()
        return
    idle = {}
    if args.idle:
        with open(args.idle) as f:
            for line in f:
                name, kib = line.removeprefix("idle:").split()
                idle[name] = float(kib) / 1024
    if args.header:
        with open(args.header) as f:
            print(f.read())
    with open(args.rows) as f:
        text = f.readlines()
    if not args.header:
        print("".join(line.removeprefix("# ") for line in text if line.startswith("#")))
    rows = read_rows(text)
    if not rows:
        sys.exit("no measurements")
    print("\n".join(table(rows, idle)))
    sys.exit(1 if any(row["errors"] for row in rows) else 0)


if __name__ == "__main__":
    main()

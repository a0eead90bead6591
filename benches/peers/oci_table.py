#!/usr/bin/env python3
"""Turns the rows of `oci` into its tables.

    oci_table.py [--header FILE] [--quick] ROWS

ROWS is also what `oci --tsv` wrote. Ends with code 1 when any measurement had
errors: its figures are then worth nothing.
"""

import argparse
import statistics
import sys

from table import MOST_DOUBTFUL, SATURATED_PCT, Cell, layout, read_rows

REGISTRIES = ["docker-registry", "zot"]
PEERS = ["nginx", "docker-registry", "zot", "larder"]
# What is asked of larder: its rate at least this many times that of each of these,
# `best` being the better of docker-registry and zot.
TARGETS = {
    "blob-4k": {"best": 6},
    "blob-64k": {"best": 6},
    "blob-1m": {"best": 1.5},
    "blob-16m": {"nginx": 1.05, "zot": 0.7},
    "blob-256m": {"nginx": 1.05, "zot": 0.7},
    "manifest-tag": {"best": 6},
    "manifest-digest": {"best": 6},
    "tag-miss": {"best": 5},
}
# Pushes: the same, among those who sync and among those who do not.
PUSH_TARGETS = {"push-64k": 2.5, "push-256m": 1.1}
DURABILITY = [
    ("synced", "larder", ["docker-registry", "zot-sync"]),
    ("not synced", "larder-nosync", ["zot"]),
]
PUSHERS = ["docker-registry", "zot-sync", "larder", "zot", "larder-nosync"]
# A whole image read this many times from the block device at the most, by all its
# readers together; a little more, because the kernel reads ahead and programs start.
ONE_READ = 1.1
READERS = 16


def sound(cell):
    return cell if cell and not cell.errors and cell.per_s else None


def best(cells, case, names):
    """(name, cell) of the quickest of them."""
    found = [(cells[case, n].per_s, n) for n in names if sound(cells.get((case, n)))]
    return (max(found)[1], cells[case, max(found)[1]]) if found else (None, None)


def ratio(a, b):
    return f"{a.per_s / b.per_s:.2f}" + ("" if a.quiet and b.quiet else "?")


def judge(ours, theirs, wanted, name):
    met = ours.per_s >= wanted * theirs.per_s
    doubt = "" if ours.quiet and theirs.quiet else ", not quiet: run again"
    return ("met" if met else "MISSED") + f" ({wanted} x {name}{doubt})"


def present(cells, cases, names):
    return [n for n in names if any((case, n) in cells for case in cases)]


def gets(cells, cases):
    peers = present(cells, cases, PEERS)
    heads, units = ["case"], [""]
    for peer in peers:
        heads += [peer, "", ""]
        units += ["per s", "spread", "cpu µs"]
    lines = [heads + ["larder /", "larder /", "target"], units + ["better", "nginx", ""]]
    for case in cases:
        line = [case]
        for peer in peers:
            cell = cells.get((case, peer))
            line += cell.show() if cell else ["-", "", ""]
        ours, judged = sound(cells.get((case, "larder"))), []
        name, better = best(cells, case, REGISTRIES)
        nginx = sound(cells.get((case, "nginx")))
        for theirs in (better, nginx):
            line.append(ratio(ours, theirs) if ours and theirs else "-")
        for against, wanted in TARGETS.get(case, {}).items() if ours else []:
            theirs = better if against == "best" else sound(cells.get((case, against)))
            if theirs:
                judged.append(judge(ours, theirs, wanted, name if against == "best" else against))
        lines.append(line + [", ".join(judged)])
    yield from layout(lines)


def lookups(cells, cases):
    peers = present(cells, cases, PEERS)
    heads, units = ["64 lookups"], [""]
    for peer in peers:
        heads += [peer, ""]
        units += ["ms", "cpu µs each"]
    lines = [heads + ["larder /"], units + ["better"]]
    for case in cases:
        line = [case]
        for peer in peers:
            cell = sound(cells.get((case, peer)))
            line += [f"{64_000 / cell.per_s:.1f}", f"{cell.cpu_us:,.0f}"] if cell else ["-", ""]
        ours, (_, better) = sound(cells.get((case, "larder"))), best(cells, case, REGISTRIES)
        lines.append(line + [ratio(ours, better) if ours and better else "-"])
    yield from layout(lines)


def pushes(cells, cases):
    peers = present(cells, cases, PUSHERS)
    lines = [["whole push"], [""]]
    for peer in peers:
        lines[0] += [peer, "", ""]
        lines[1] += ["ms", "spread", "cpu ms"]
    for case in cases:
        line = [case]
        for peer in peers:
            cell = sound(cells.get((case, peer)))
            if cell:
                line += [f"{1000 / cell.per_s:,.2f}", f"±{cell.spread_pct:.0f}%", f"{cell.cpu_us / 1000:,.2f}"]
            else:
                broken = cells.get((case, peer))
                line += [f"ERRORS {broken.errors}" if broken else "-", "", ""]
        lines.append(line)
    lines = [line + [""] for line in lines]
    yield from layout(lines)
    yield ""
    for case in cases:
        for label, ours_name, others in DURABILITY:
            ours, (name, theirs) = sound(cells.get((case, ours_name))), best(cells, case, others)
            if ours and theirs:
                judged = judge(ours, theirs, PUSH_TARGETS[case], name) if case in PUSH_TARGETS else ""
                yield f"{case}, {label}: {ours_name} {ratio(ours, theirs)} times as quick as {name}: {judged}"
        for synced, not_synced in (("larder", "larder-nosync"), ("zot-sync", "zot")):
            a, b = sound(cells.get((case, synced))), sound(cells.get((case, not_synced)))
            if a and b:
                yield (
                    f"{case}, what syncing costs {not_synced.split('-')[0]}: {1000 / a.per_s - 1000 / b.per_s:+,.2f} ms "
                    f"({b.per_s / a.per_s:.2f} times as long)"
                )


def pulls(cells, cases, io, rows):
    lines = [
        ["16 readers at once", "", "seconds", "spread", "MiB/s", "cpu s", "store reads", "kernel reads", "peak MiB", ""],
        ["", "", "for all", "", "", "for all", "x image", "x image", "", ""],
    ]
    for case in cases:
        for peer in present(cells, cases, PEERS):
            cell = cells.get((case, peer))
            if not cell:
                continue
            if not sound(cell):
                lines.append([case, peer, f"ERRORS {cell.errors}"] + [""] * 7)
                continue
            own = [r for r in rows if r["case"] == case and r["peer"] == peer and r["requests"]]
            image = statistics.median(r["mib_s"] * r["seconds"] / r["requests"] for r in own) * 2**20
            seconds = READERS / cell.per_s
            line = [case, peer, f"{seconds:.2f}", f"±{cell.spread_pct:.0f}%"]
            line += [f"{READERS * image / seconds / 2**20:,.0f}", f"{cell.cpu_us * READERS / 1e6:.2f}"]
            read = [(int(d), int(k)) for c, p, _, d, k, _ in io if c == case and p == peer]
            judged = ""
            if read:
                disk, kernel = (max(column) / image for column in zip(*read))
                line += [f"{disk:.2f}", f"{kernel:.2f}"]
                if peer == "larder":
                    judged = "NOT COLD" if disk < 0.5 else "met" if disk <= ONE_READ else "MISSED"
                    judged += " (one read of the store)"
            else:
                line += ["-", "-"]
            lines.append(line + [f"{cell.peak_mib:,.0f}", judged])
    yield from layout(lines)


def tables(rows, io):
    cases = list(dict.fromkeys(row["case"] for row in rows))
    cells = {}
    for row in rows:
        key = row["case"], row["peer"]
        if key not in cells:
            cells[key] = Cell([r for r in rows if (r["case"], r["peer"]) == key])

    def of(*kinds):
        return [case for case in cases if case.startswith(kinds)]

    for kinds, make in (
        (("blob", "manifest", "tag"), gets),
        (("lookup", "hello"), lookups),
        (("push",), pushes),
    ):
        if of(*kinds):
            yield from make(cells, of(*kinds))
            yield ""
    if of("pull"):
        yield from pulls(cells, of("pull"), io, rows)
        yield ""
    yield "cpu: processor time of the server for each. spread: half of (highest - lowest) over the rounds."
    yield f"c: the server used less than {SATURATED_PCT} % of its core. ?: others were computing during one of the two."
    yield "better: the quicker of docker-registry and zot. store reads: from the block device, in the worst round;"
    yield "kernel reads: what the server took of the kernel, which has it in memory after the first time."

    doubtful = sorted(
        ((c.other_pct, f"{case} on {peer}: {c.other_pct:.0f} % of a core by others, {c.steal_pct:.0f} % stolen")
         for (case, peer), c in cells.items() if not c.quiet),
        reverse=True,
    )  # fmt: skip
    if doubtful:
        yield ""
        yield f"NOT QUIET in {len(doubtful)} of {len(cells)} figures: somebody else was computing in every round"
        yield from ("  " + line for _, line in doubtful[:MOST_DOUBTFUL])
    for (case, peer), cell in cells.items():
        if cell.errors:
            yield f"ERRORS {cell.errors} in {case} on {peer}: " + " | ".join(cell.notes)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("rows")
    p.add_argument("--header")
    p.add_argument("--quick", action="store_true", help="say whether all was right, without the tables")
    args = p.parse_args()
    with open(args.rows) as f:
        text = f.readlines()
    if args.header:
        with open(args.header) as f:
            print(f.read())
    else:
        print("".join(line.removeprefix("# ") for line in text if line.startswith("#") and not line.startswith("# io")))
    rows = read_rows(text)
    if not rows:
        sys.exit("no measurements")
    io = [line.removeprefix("# io ").rstrip("\n").split("\t") for line in text if line.startswith("# io ")]
    broken = [row for row in rows if row["errors"]]
    if args.quick:
        for row in broken:
            print(f"ERRORS {row['errors']:.0f} in {row['case']} on {row['peer']}: {row['note']}")
        print(f"{len(rows) - len(broken)} of {len(rows)} measurements with right answers only")
    else:
        print("\n".join(tables(rows, io)))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

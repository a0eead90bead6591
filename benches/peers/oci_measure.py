#!/usr/bin/env python3
"""One measurement with oci_load: prints one row of the table, as measure.py does.

    oci_measure.py --peer P --case C --round R --pid PID [--client-core N]
                   [--io FILE] PROGRAM MODE [...]

--io FILE appends a line: case, peer, round, and by how many bytes the server's
read_bytes (from the block device), rchar (from the kernel, sockets included where
they are read as files are) and write_bytes grew meanwhile.
"""

import argparse
import os
import re
import subprocess
import sys

from measure import COLUMNS, Watch, family, memory_kib

IO = ("read_bytes", "rchar", "write_bytes")


def io_bytes(pid):
    total = dict.fromkeys(IO, 0)
    for member in family(pid):
        try:
            with open(f"/proc/{member}/io") as f:
                fields = dict(line.split(": ") for line in f)
        except OSError:
            continue
        for name in IO:
            total[name] += int(fields[name])
    return total


def load(command):
    """Runs it: its report line as a dict, its processor time, what it said."""
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    line = re.search(r"^PEERS (.*)$", output, re.M)
    if not line:
        return None, 0.0, output
    report = {k: float(v) for k, v in (pair.split("=") for pair in line[1].split())}
    return report, usage.ru_utime + usage.ru_stime, output


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--peer", required=True)
    p.add_argument("--case", required=True)
    p.add_argument("--round", type=int, default=1)
    p.add_argument("--pid", type=int, required=True)
    p.add_argument("--client-core", type=int)
    p.add_argument("--io")
    p.add_argument("command", nargs=argparse.REMAINDER)
    args = p.parse_args()
    command = args.command
    if args.client_core is not None:
        command = ["taskset", "-c", str(args.client_core), *command]

    io_before, watch = io_bytes(args.pid), Watch(args.pid)
    report, client_s, output = load(command)
    watch.stop()
    io_after = io_bytes(args.pid)
    rss, peak = memory_kib(args.pid)

    row = dict.fromkeys(COLUMNS, 0)
    row |= {"case": args.case, "peer": args.peer, "round": args.round, "rss_kib": rss, "peak_kib": peak, "note": ""}
    if report is None or not report["requests"] or report["errors"]:
        row["errors"] = int(report["errors"]) if report and report["errors"] else 1
        row["note"] = " ".join(output.split())[-400:]
    if report and report["requests"]:
        row |= watch.row(report["requests"], report["seconds"], client_s) | {
            "mib_s": round(report["bytes"] / report["seconds"] / 2**20, 1),
            "p50_us": round(report["p50_us"]),
            "p99_us": round(report["p99_us"]),
        }
    print("\t".join(str(row[c]) for c in COLUMNS))
    if args.io:
        with open(args.io, "a") as f:
            grown = [str(io_after[name] - io_before[name]) for name in IO]
            f.write("\t".join([args.case, args.peer, str(args.round), *grown]) + "\n")
    if row["errors"]:
        print(f"ERRORS {row['errors']} in {args.case} on {args.peer}: {row['note']}", file=sys.stderr)


if __name__ == "__main__":
    main()

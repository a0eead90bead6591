#!/usr/bin/env python3
"""Runs oci_load and looks at a server's memory meanwhile.

    oci_peak.py --peer P --pid PID --pushes N --size SIZE [--hot SIZE --transfers SIZE
                --metrics URL --authorization TEXT] PROGRAM MODE [...]

Ends with code 1 when a push failed or the peak went over --hot and --transfers.
"""

import argparse
import importlib.machinery
import importlib.util
import os
import re
import sys
import threading

from measure import get
from oci_measure import load

HERE = os.path.dirname(os.path.abspath(__file__))


def program(name):
    """A program of this directory, as a module: its name has no ending."""
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(HERE, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


class Budgets(threading.Thread):
    """What larder itself says to have in use, a few times a second."""

    def __init__(self, url, authorization):
        super().__init__(daemon=True)
        self.url, self.authorization = url, authorization
        self.highest, self.limits, self.stopped = {}, {}, threading.Event()
        self.start()

    def run(self):
        while True:
            self.look()
            if self.stopped.wait(0.2):
                return

    def look(self):
        try:
            status, text = get(self.url, self.authorization)
        except OSError:
            return
        if status != 200:
            return
        for kind, into in (("used", self.highest), ("limit", self.limits)):
            for name, value in re.findall(
                rf'^larder_memory_{kind}_bytes\{{budget="(\w+)"\}} (\S+)$', text.decode(), re.M
            ):
                into[name] = max(into.get(name, 0), float(value))

    def stop(self):
        self.stopped.set()
        self.join(30)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--peer", required=True)
    p.add_argument("--pid", type=int, required=True)
    p.add_argument("--pushes", type=int, required=True)
    p.add_argument("--size", required=True)
    p.add_argument("--hot")
    p.add_argument("--transfers")
    p.add_argument("--metrics")
    p.add_argument("--authorization", default="")
    p.add_argument("command", nargs=argparse.REMAINDER)
    args = p.parse_args()
    memory = program("memory")

    idle = memory.status_mib(args.pid)[0]
    sampler = memory.Sampler(args.pid)
    budgets = Budgets(args.metrics, args.authorization) if args.metrics else None
    report, _, output = load(args.command)
    peak = sampler.stop()
    print(f"{args.peer}: {args.pushes} pushes at once, a layer of {args.size} each; {idle:.1f} MiB resident before")
    ok = bool(report) and report["requests"] == args.pushes and not report["errors"]
    if report:
        rate = report["bytes"] / report["seconds"] / 2**20
        print(f"  {report['requests']:.0f} of {args.pushes} pushed, in {report['seconds']:.2f} s ({rate:,.0f} MiB/s);")
        print(f"    median {report['p50_us'] / 1e6:.2f} s, slowest {report['slowest_us'] / 1e6:.2f} s")
    if not ok:
        print("  FAILED: " + " ".join(output.split())[:600])
    if budgets:
        budgets.stop()
        for name, value in sorted(budgets.highest.items()):
            limit = budgets.limits.get(name, 0)
            over = limit and value > limit
            ok &= not over
            print(
                f"  budget {name}: {value / 2**20:.1f} MiB in use at the most, of {limit / 2**20:.0f}"
                + (": OVER" if over else "")
            )
    text = f"  peak resident memory {peak:.1f} MiB ({sampler.count} looks)"
    if args.hot and args.transfers:
        limit = memory.size_mib(args.hot) + memory.size_mib(args.transfers)
        ok &= peak < limit
        text += f": {'under' if peak < limit else 'MISSED, over'} the limit of {limit:.0f} MiB"
    print(text)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""One measurement: drives one server with wrk and prints one row of the table.

    measure.py --peer P --case C --round R --pid PID --url URL [...]

The row (tab separated, COLUMNS below) goes to standard output. Processor time is
that of the server's process and its children between wrk's start and its end,
from their CPU clocks: nanoseconds, threads that have ended included.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

COLUMNS = [
    "case", "peer", "round", "seconds", "requests", "per_s", "cpu_us", "server_pct",
    "client_pct", "kernel_pct", "other_pct", "steal_pct", "mib_s", "p50_us", "p99_us", "errors",
    "rss_kib", "peak_kib", "note",
]  # fmt: skip
HERE = os.path.dirname(os.path.abspath(__file__))
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by way of a proxy
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


# ---- processes --------------------------------------------------------------


def family(pid):
    """The process and all that descend from it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    parents[int(name)] = int(f.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def cpu_ns(pid):
    """Processor time of one process so far, user and system."""
    try:
        # The CPU clock of another process: clock_getcpuclockid(3), spelled out.
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        pass
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        total = 0
        for task in tasks:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        return total
    except OSError:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return round((int(fields[11]) + int(fields[12])) * TICK_S * 1e9)


def family_cpu_ns(pid):
    total = 0
    for member in family(pid):
        try:
            total += cpu_ns(member)
        except OSError:
            continue
    return total


def memory_kib(pid):
    """(resident now, highest so far), summed over the family."""
    now = peak = 0
    for member in family(pid):
        try:
            with open(f"/proc/{member}/status") as f:
                status = dict(line.split(":", 1) for line in f if ":" in line)
            now += int(status["VmRSS"].split()[0])
            peak += int(status["VmHWM"].split()[0])
        except (OSError, KeyError):
            continue
    return now, peak


def kernel_threads_ns():
    """Processor time of the kernel's own threads: journal, write-back, loop device."""
    total = 0
    for member in family(2)[1:]:
        try:
            total += cpu_ns(member)
        except OSError:
            continue
    return total


def machine_ticks():
    """(busy, stolen) processor time of all cores so far, in seconds."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq) * TICK_S, steal * TICK_S


class Watch:
    """What a server and the machine do from here until stop()."""

    def __init__(self, pid):
        self.pid = pid
        self.busy, self.steal = machine_ticks()
        self.kernel = kernel_threads_ns()
        self.wall, self.cpu = time.monotonic(), family_cpu_ns(pid)

    def stop(self):
        self.server_s = (family_cpu_ns(self.pid) - self.cpu) / 1e9
        self.wall_s = time.monotonic() - self.wall
        self.kernel_s = max(0, kernel_threads_ns() - self.kernel) / 1e9
        busy, steal = machine_ticks()
        self.busy_s, self.steal_s = busy - self.busy, steal - self.steal

    def row(self, requests, seconds, client_s):
        """The columns about rates and processor time."""
        other_s = self.busy_s - self.server_s - client_s - self.kernel_s
        return {
            "seconds": round(seconds, 3),
            "requests": requests,
            "per_s": round(requests / seconds, 2),
            "cpu_us": round(self.server_s * 1e6 / requests, 3),
            "server_pct": round(100 * self.server_s / seconds, 1),
            "client_pct": round(100 * client_s / self.wall_s, 1),
            "kernel_pct": round(100 * self.kernel_s / self.wall_s, 1),
            # Everybody else on the machine.
            "other_pct": round(100 * max(0, other_s) / self.wall_s, 1),
            "steal_pct": round(100 * self.steal_s / self.wall_s, 1),
        }


# ---- HTTP outside of the timing ---------------------------------------------


def get(url, authorization):
    headers = {"Authorization": authorization} if authorization else {}
    try:
        with DIRECT.open(urllib.request.Request(url, headers=headers), timeout=20) as r:
            return r.status, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def declined(args):
    """larder's count of stores that it answered 2xx and did not keep."""
    if not args.peer.startswith("larder"):
        return {}
    base = re.match(r"https?://[^/]+", args.url)[0]
    status, text = get(base + "/metrics", args.authorization)
    if status != 200:
        return {}
    lines = re.findall(r"^(\S*declined\S*) ([0-9.e+]+)$", text.decode(), re.M)
    return {name: float(value) for name, value in lines}


def fresh_key(n, seed, long):
    """What wrk/keys.lua makes of the same numbers."""

    def mix(x, add):
        x = (x + add) & 0xFFFFFFFF
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        return x ^ (x << 5) & 0xFFFFFFFF

    a = mix(mix(n, 0x1E3779B9), 0x7F4A7C15)
    b = mix(mix(a, seed), 0x3F58476D)
    c = mix(b, 0x14D049BB)
    d = mix(c, 0x2545F491)
    return f"{a:08x}{b:08x}{c:08x}{d:08x}" * (2 if long else 1)


def check_stored(args, sent, seed):
    """Reads a sample of what was put; returns how many are missing or wrong."""
    with open(args.bodies) as f:
        paths = f.read().split()
    done = sent - args.connections  # the last ones were cut by the end of the run
    # wrk calls request() once more than it sends, so number 0 never leaves it.
    picks = sorted({1 + round(i * (done - 2) / 31) for i in range(32)}) if done > 2 else []
    wrong = 0
    for n in picks:
        with open(paths[n % len(paths)], "rb") as f:
            expected = f.read()
        status, body = get(args.url + fresh_key(n, seed, args.key_hex == 64), args.authorization)
        wrong += status != 200 or body != expected
    return wrong, len(picks)


# ---- wrk ----------------------------------------------------------------------


def wrk(args, seconds, seed):
    """Runs wrk once: its report line as a dict, its processor time, its output."""
    command = ["wrk", "-t1", f"-c{args.connections}", f"-d{seconds:g}s", "--timeout", "30s"]
    if args.client_core is not None:
        command = ["taskset", "-c", str(args.client_core), *command]
    if args.authorization:
        command += ["-H", "Authorization: " + args.authorization]
    for header in args.header:
        command += ["-H", header]
    command += ["-s", os.path.join(HERE, "wrk", args.script), args.url + args.path]
    env = dict(
        os.environ,
        PEERS_LUA=os.path.join(HERE, "wrk"),
        PEERS_SEED=str(seed),
        PEERS_KEY_HEX=str(args.key_hex),
        PEERS_BODIES=args.bodies,
        PEERS_PLAN=args.plan,
        PEERS_KEYS=args.keys,
    )
    process = subprocess.Popen(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    line = re.search(r"^PEERS (.*)$", output, re.M)
    if process.returncode != 0 or not line:
        return None, 0.0, output
    report = {k: int(v) for k, v in (pair.split("=") for pair in line[1].split())}
    return report, usage.ru_utime + usage.ru_stime, output


def wait_for_quiet(at_most):
    """Until the whole machine uses less than a tenth of one core, or for so long."""
    end = time.monotonic() + at_most
    while time.monotonic() < end:
        busy, began = machine_ticks()[0], time.monotonic()
        time.sleep(0.5)
        if (machine_ticks()[0] - busy) / (time.monotonic() - began) < 0.1:
            return


def wrk_seconds(seconds):
    """wrk takes whole seconds only."""
    return max(1, round(seconds))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--columns", action="store_true", help="print the heading and stop")
    p.add_argument("--wait-quiet", type=float, metavar="S", help="wait for a quiet machine, at most S seconds, and stop")
    for name in ("peer", "case", "url"):
        p.add_argument("--" + name, default="")
    p.add_argument("--round", type=int, default=1)
    p.add_argument("--pid", type=int)
    p.add_argument("--path", default="", help="what follows the URL in a fixed request")
    p.add_argument("--kind", choices=["get", "miss", "put", "mix"], default="get")
    p.add_argument("--size", type=int, default=0, help="bytes of each body, for GET")
    p.add_argument("--script", default="report.lua")
    p.add_argument("--authorization", default="")
    p.add_argument("--header", action="append", default=[])
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--warmup", type=float, default=1)
    p.add_argument("--connections", type=int, default=16)
    p.add_argument("--client-core", type=int)
    p.add_argument("--key-hex", type=int, choices=[32, 64], default=32)
    p.add_argument("--bodies", default="", help="list of body files, for PUT")
    p.add_argument("--plan", default="", help="plan of the mix")
    p.add_argument("--keys", default="", help="list of keys, for hits.lua")
    args = p.parse_args()
    if args.columns:
        print("\t".join(COLUMNS))
        return
    if args.wait_quiet is not None:
        wait_for_quiet(args.wait_quiet)
        return

    if args.warmup > 0:
        wrk(args, wrk_seconds(args.warmup), args.round * 1000 + 1)
    seed = args.round * 1000
    declined_before = declined(args)
    watch = Watch(args.pid)
    report, client_s, output = wrk(args, wrk_seconds(args.seconds), seed)
    watch.stop()
    rss, peak = memory_kib(args.pid)

    row = dict.fromkeys(COLUMNS, 0)
    row |= {"case": args.case, "peer": args.peer, "round": args.round}
    row |= {"rss_kib": rss, "peak_kib": peak}
    notes = []
    if report is None or report["requests"] == 0:
        row["errors"] = 1
        notes.append("wrk gave no result: " + " ".join(output.split())[-300:])
    else:
        requests, seconds = report["requests"], report["duration_us"] / 1e6
        # A case of kind miss answers 404 each time, which wrk counts as an error.
        unexpected = requests - report["status"] if args.kind == "miss" else report["status"]
        sockets = sum(report[k] for k in ("connect", "read", "write", "timeout"))
        if unexpected:
            what = "answers other than 404" if args.kind == "miss" else "answers of 4xx or 5xx"
            notes.append(f"{unexpected} {what}")
        if sockets:
            kinds = [f"{k} {report[k]}" for k in ("connect", "read", "write", "timeout") if report[k]]
            notes.append("socket errors: " + ", ".join(kinds))
        errors = unexpected + sockets
        if args.kind == "get" and report["bytes"] < requests * args.size:
            errors += 1
            notes.append(f"bodies too short: {report['bytes'] // requests} bytes an answer")
        if args.kind == "put":
            wrong, read = check_stored(args, report["sent"], seed)
            errors += wrong
            if wrong or not read:
                notes.append(f"{wrong} of {read} stored entries not read back as put")
        for name, value in declined(args).items():
            if new := int(value - declined_before.get(name, 0)):
                errors += new
                notes.append(f"{name} {new}")
        row |= watch.row(requests, seconds, client_s) | {
            "mib_s": round(report["bytes"] / seconds / 2**20, 1),
            "p50_us": report["p50_us"],
            "p99_us": report["p99_us"],
            "errors": errors,
        }
    row["note"] = "; ".join(notes).replace("\t", " ")
    print("\t".join(str(row[c]) for c in COLUMNS))
    if notes:
        print(f"ERRORS {row['errors']} in {args.case} on {args.peer}: {row['note']}", file=sys.stderr)


if __name__ == "__main__":
    main()

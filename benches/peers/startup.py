#!/usr/bin/env python3
"""The two halves of `start` that need more than a shell.

    startup.py small DIR COUNT             entries of 450 to 1024 bytes, named by key
    startup.py clone DATA COUNT            fill DATA with copies up to COUNT entries
    startup.py ready LABEL PORT KEY AUTH SETTLE SIGNAL COMMAND...
                                           start it, time it until it is ready, end it
"""

import http.client
import multiprocessing
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import entries  # noqa: E402
import measure  # noqa: E402


def small(directory, count):
    os.makedirs(directory, exist_ok=True)
    for i in range(count):
        size = round(450 * (1024 / 450) ** ((i + 0.5) / count))
        with open(os.path.join(directory, entries.key(f"small {i}")), "wb") as f:
            f.write(entries.entry(size, i))


def _copy(space, originals, first, last):
    """Writes entries first..last of the clones; a process of its own."""
    for n in range(first, last):
        key = entries.key(f"clone {n}")
        path = f"{space}/{key[:2]}/{key}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, originals[n % len(originals)])
        os.close(fd)


def clone(data, count):
    space = os.path.join(data, "gradle", "default")
    originals = []
    for name in sorted(os.listdir(space)):
        for key in sorted(os.listdir(os.path.join(space, name))):
            with open(os.path.join(space, name, key), "rb") as f:
                originals.append(f.read())
    if not originals:
        sys.exit(f"no entry files in {space}/<k0k1>/")
    for n in range(256):
        os.makedirs(f"{space}/{n:02x}", exist_ok=True)
    missing, workers = max(0, count - len(originals)), os.cpu_count()
    jobs = [
        multiprocessing.Process(
            target=_copy,
            args=(space, originals, missing * i // workers, missing * (i + 1) // workers),
        )
        for i in range(workers)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    if any(job.exitcode for job in jobs):
        sys.exit("the copies could not all be written")
    mean = sum(map(len, originals)) / len(originals)
    print(f"{len(originals)} stored and {missing} copied, {mean:.0f} bytes a file")


def _ask(port, path, authorization=""):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": authorization} if authorization else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def ready(label, port, key, authorization, settle, end_with, command):
    began = time.monotonic()
    with open(os.environ["PEERS_LOG"], "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while _ask(port, "/readyz")[0] != 200:
            if process.poll() is not None or time.monotonic() - began > 600:
                sys.exit(f"it did not get ready ({process.poll()}); see its log")
            time.sleep(0.001)
        ready_s = time.monotonic() - began
        at_once = measure.memory_kib(process.pid)[0] / 1024
        asked = time.monotonic()
        status, body = _ask(port, "/cache/" + key, authorization)
        first_hit_ms = (time.monotonic() - asked) * 1000
        time.sleep(settle)
        now, peak = (kib / 1024 for kib in measure.memory_kib(process.pid))
        cpu_s = measure.cpu_ns(process.pid) / 1e9
        print(
            f"{label}: ready in {ready_s:.3f} s, {at_once:.1f} MiB resident; "
            f"first GET {status} ({len(body)} bytes) in {first_hit_ms:.1f} ms; "
            f"{settle:.0f} s later {now:.1f} MiB resident, {peak:.1f} at the most, {cpu_s:.2f} s of processor time"
        )
        missed = []
        if ready_s >= 1:
            missed.append("MISSED: ready in under 1 s")
        if now >= 20:
            missed.append("MISSED: under 20 MiB idle")
        if status != 200:
            missed.append("MISSED: the first GET was no hit")
        for line in missed:
            print("  " + line)
        return not missed
    finally:
        process.send_signal(end_with)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(args):
    match args:
        case ["small", directory, count]:
            small(directory, int(count))
        case ["clone", data, count]:
            clone(data, int(count))
        case ["ready", label, port, key, authorization, settle, end_with, *command]:
            number = signal.Signals["SIG" + end_with]
            ok = ready(label, int(port), key, authorization, float(settle), number, command)
            sys.exit(0 if ok else 1)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

#!/usr/bin/env python3
"""Holds memory until it is killed, so that it is warm when it comes free.

    ballast.py MIB FILE     FILE appears when the memory is held

On a virtual machine free memory may belong to the host (free page reporting,
ballooning): the first touch of a page then costs microseconds. A PUT would pay
that as if it were the server's work, and unequally: a server that writes in large
pieces gets large pages, and those are the ones that the host has taken. Seen with
1 MiB files on ext4: 250 µs a file in warm memory, 2,400 in memory of the host.
Huge pages, so that it also comes free in large pieces.
"""

import mmap
import signal
import sys


def main(mib, held):
    size = int(mib) << 20
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except (AttributeError, OSError):
        pass  # small pages warm it as well, just less of it in large pieces
    for at in range(0, size, mmap.PAGESIZE):
        memory[at] = 1
    open(held, "w").close()
    signal.pause()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

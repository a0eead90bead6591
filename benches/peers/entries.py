#!/usr/bin/env python3
"""Makes bodies that look like Gradle's build cache entries.

An entry is a gzipped tar whose first member is METADATA (Java properties). The
rest is one member of random bytes, sized so that the whole file has exactly the
length that was asked for: real outputs are mostly compressed class files, and
random bytes cannot be compressed either.

    entries.py one FILE SIZE [SEED]      one entry
    entries.py many DIR SIZE COUNT       DIR/0000 ... of one size each, and DIR.list
    entries.py mix DIR KEYS              the mix: DIR/get/KEY, DIR/put/NNNN, DIR/plan

SIZE is in bytes or takes k or m (1024-based).
"""

import hashlib
import io
import os
import random
import sys
import tarfile
import zlib

MIB = 1024 * 1024

# Share of entries and their sizes, drawn evenly on a logarithmic scale.
MIX = [
    (0.350, 450, 450),
    (0.250, 512, 1024),
    (0.200, 1024, 16 * 1024),
    (0.120, 16 * 1024, 128 * 1024),
    (0.060, 128 * 1024, MIB),
    (0.017, MIB, 10 * MIB),
    (0.003, 10 * MIB, 64 * MIB),
]
GET_CARDS, PUT_CARDS = 9000, 1000  # 90 % GET, 10 % PUT
PUT_BODIES_AT_MOST = 32  # per class: they all lie in the client's memory


def _header(name, size, mtime):
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, mtime
    return info.tobuf(tarfile.USTAR_FORMAT)


def entry(size, seed=0):
    """A Gradle-like entry of exactly `size` bytes (at least 400)."""
    rng = random.Random(seed * 1_000_003 + size)
    guess = size - 270
    for _ in range(2000):
        frame = Frame(max(guess, 0), rng)
        if frame.size == size:
            return frame.around(rng.randbytes(frame.payload_len))
        guess += size - frame.size
        if guess < 0:
            guess = rng.randrange(0, 8)
    raise SystemExit(f"no entry of {size} bytes could be made: it is too small")


class Frame:
    """All of an entry but its random bytes, compressed; cheap to try sizes with."""

    def __init__(self, payload_len, rng):
        self.payload_len = payload_len
        mtime = 1_700_000_000 + rng.randrange(10_000_000)
        metadata = (
            "executionTime=1234\n"
            "path=\\:app\\:compileJava\n"
            "type=org.gradle.api.tasks.compile.JavaCompile\n"
            "gradleVersion=8.10\n"
        ).encode()
        head = _header("METADATA", len(metadata), mtime) + metadata
        head += bytes(-len(head) % 512)
        self.head = head + _header("tree-destinationDir/app.bin", payload_len, mtime)
        self.tail = bytes(-payload_len % 512 + 1024)

        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.packed_head = deflate.compress(self.head) + deflate.flush(zlib.Z_FULL_FLUSH)
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.packed_tail = deflate.compress(self.tail) + deflate.flush()
        blocks = -(-payload_len // 0xFFFF)
        self.size = 10 + len(self.packed_head) + 5 * blocks + payload_len
        self.size += len(self.packed_tail) + 8

    def around(self, payload):
        """The whole gzip file. The payload lies in stored blocks."""
        out = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff", self.packed_head]
        for at in range(0, len(payload), 0xFFFF):
            block = payload[at : at + 0xFFFF]
            out.append(b"\0" + len(block).to_bytes(2, "little"))
            out.append((len(block) ^ 0xFFFF).to_bytes(2, "little"))
            out.append(block)
        crc = zlib.crc32(self.tail, zlib.crc32(payload, zlib.crc32(self.head)))
        length = len(self.head) + len(payload) + len(self.tail)
        out += [self.packed_tail, crc.to_bytes(4, "little")]
        out.append((length & 0xFFFFFFFF).to_bytes(4, "little"))
        return b"".join(out)


def key(text):
    """A key as Gradle makes them: 32 hex digits."""
    return hashlib.md5(text.encode()).hexdigest()


def parse_size(text):
    unit = {"k": 1024, "m": MIB}.get(text[-1].lower())
    return int(text[:-1]) * unit if unit else int(text)


def _sizes(count, low, high):
    """`count` sizes, at the middles of equal steps on the logarithmic scale."""
    return [round(low * (high / low) ** ((i + 0.5) / count)) for i in range(count)]


def _write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def many(directory, size, count):
    os.makedirs(directory, exist_ok=True)
    paths = [os.path.join(directory, f"{i:04d}") for i in range(count)]
    for i, path in enumerate(paths):
        _write(path, entry(size, i + 1))
    _write(directory + ".list", "".join(p + "\n" for p in paths).encode())


def mix(directory, keys):
    """The stored entries, the bodies to put, and a plan of cards to draw from."""
    for sub in ("get", "put"):
        os.makedirs(os.path.join(directory, sub), exist_ok=True)
    plan = io.StringIO()
    stored, seed = 0, 0
    for share, low, high in MIX:
        count = max(1, round(keys * share))
        cards = round(GET_CARDS * share)
        for i, size in enumerate(_sizes(count, low, high)):
            seed += 1
            name = key(f"mix {seed}")
            _write(os.path.join(directory, "get", name), entry(size, seed))
            stored += size
            if here := (cards * (i + 1)) // count - (cards * i) // count:
                plan.write(f"get\t{name}\t{here}\n")
        cards = round(PUT_CARDS * share)
        count = min(cards, PUT_BODIES_AT_MOST)
        for i, size in enumerate(_sizes(count, low, high)):
            seed += 1
            path = os.path.join(directory, "put", f"{seed:06d}")
            _write(path, entry(size, seed))
            here = (cards * (i + 1)) // count - (cards * i) // count
            plan.write(f"put\t{path}\t{here}\n")
    _write(os.path.join(directory, "plan"), plan.getvalue().encode())
    print(f"{seed} entries, {stored / MIB:.0f} MiB of them stored", file=sys.stderr)


def main(args):
    match args:
        case ["one", path, size, *seed]:
            _write(path, entry(parse_size(size), int(seed[0]) if seed else 0))
        case ["many", directory, size, count]:
            many(directory, parse_size(size), int(count))
        case ["mix", directory, keys]:
            mix(directory, int(keys))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

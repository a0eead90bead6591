#!/usr/bin/env python3
"""Makes images to push and pull: digests and documents, computed before anything is timed.

    oci_images.py base FILE SIZE                       random bytes, what layers are made of
    oci_images.py plan BASE FILE NAME COUNT SIZE [oci] COUNT images with one layer of SIZE each
    oci_images.py static BASE PLAN DIR                 the same as files below DIR, for nginx

A layer is a stamp of 16 bytes, then the base over and over: no two are the same,
and none needs a file. A line of the plan has, between tabs, what oci_load.rs wants
to know of an image. Tags are 64 hex digits, as kaniko's; manifests are Docker's, as
kaniko's, or OCI's. SIZE is in bytes or takes k or m (1024-based).
"""

import hashlib
import json
import os
import sys

from entries import parse_size

STAMP = 16
DOCKER = {
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
OCI = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
}


def pieces(base, stamp, size):
    """The bytes of a layer, in pieces."""
    yield stamp[:size]
    offset = STAMP
    while offset < size:
        at = offset % len(base)
        piece = memoryview(base)[at : at + size - offset]
        yield piece
        offset += len(piece)


def digest(data):
    sha = hashlib.sha256()
    for piece in data:
        sha.update(piece)
    return "sha256:" + sha.hexdigest()


def image(base, name, number, size, kinds):
    stamp = hashlib.md5(f"{name} {number}".encode()).hexdigest()[:STAMP]
    tag = hashlib.sha256(f"{name} {number}".encode()).hexdigest()
    layer = digest(pieces(base, stamp.encode(), size))
    # Of the size and with the members that kaniko's have.
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-11-22T10:00:00Z",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Cmd": ["/bin/sh"],
                "Labels": {"step": tag},
            },
            "history": [{"created": "2026-11-22T10:00:00Z", "created_by": "RUN make", "author": "kaniko"}],
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        },
        separators=(",", ":"),
    )
    config_digest = digest([config.encode()])
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kinds["manifest"],
            "config": {"mediaType": kinds["config"], "size": len(config), "digest": config_digest},
            "layers": [{"mediaType": kinds["layer"], "size": size, "digest": layer}],
        },
        separators=(",", ":"),
    )
    manifest_digest = digest([manifest.encode()])
    return [tag, stamp, str(size), layer, config_digest, config, manifest_digest, manifest, kinds["manifest"]]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.writelines(data)


def static(base, plan, directory):
    with open(plan) as f:
        for line in f:
            tag, stamp, size, layer, config, config_json, manifest, manifest_json, _ = line.rstrip("\n").split("\t")
            write(f"{directory}/blobs/{layer}", pieces(base, stamp.encode(), int(size)))
            write(f"{directory}/blobs/{config}", [config_json.encode()])
            write(f"{directory}/manifests/{tag}", [manifest_json.encode()])
            write(f"{directory}/manifests/{manifest}", [manifest_json.encode()])


def main(args):
    match args:
        case ["base", path, size]:
            write(path, [os.urandom(parse_size(size))])
        case ["plan", base, path, name, count, size, *kind]:
            base, kinds = read(base), OCI if kind == ["oci"] else DOCKER
            with open(path, "w") as f:
                for number in range(int(count)):
                    f.write("\t".join(image(base, name, number, parse_size(size), kinds)) + "\n")
        case ["static", base, plan, directory]:
            static(read(base), plan, directory)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

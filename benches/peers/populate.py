#!/usr/bin/env python3
"""Stores every file of a directory under its name as key, then reads each back.

    populate.py DIR URL KEY_HEX [AUTHORIZATION]

Ends with a message and code 1 at the first answer or byte that is not as it
should be.
"""

import http.client
import os
import sys
import urllib.parse


def main(directory, url, key_hex, authorization=""):
    target = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
    headers = {"Content-Type": "application/vnd.gradle.build-cache-artifact.v1"}
    if authorization:
        headers["Authorization"] = authorization
    names = sorted(os.listdir(directory))
    for method in ("PUT", "GET"):
        for name in names:
            with open(os.path.join(directory, name), "rb") as f:
                body = f.read()
            path = target.path + name * (int(key_hex) // 32)
            connection.request(method, path, body if method == "PUT" else None, headers)
            answer = connection.getresponse()
            got = answer.read()
            if not 200 <= answer.status < 300:
                sys.exit(f"{method} {path}: {answer.status} {got[:200]!r}")
            if reason := answer.headers.get("X-Larder-Declined"):
                sys.exit(f"{method} {path}: declined: {reason}")
            if method == "GET" and got != body:
                sys.exit(f"GET {path}: {len(got)} bytes that differ from the {len(body)} put")


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])

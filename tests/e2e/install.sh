#!/bin/bash
# Installs what the end-to-end tests need, by the names of Debian's packages. Quick where everything is there.
set -euo pipefail

packages=(
    gradle junit4 libhamcrest-java default-jdk-headless curl      # Gradle
    buildah skopeo runc ca-certificates busybox-static jq openssl # images and their builders
    docker-registry                                               # another registry beside larder
    mmdebstrap nodejs                                             # a base image with a JDK, Gradle and Node
)

missing=()
for package in "${packages[@]}"; do
    # A JDK of another name does as well.
    if [ "$package" = default-jdk-headless ] && compgen -G '/usr/lib/jvm/java-17-openjdk-*/bin/javac' >/dev/null; then
        continue
    fi
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} = 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the end-to-end tests need: apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"

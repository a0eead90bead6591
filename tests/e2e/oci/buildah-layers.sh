#!/bin/bash
# Shows that buildah keeps its layer cache in the registry: a Dockerfile of eight steps, built with an empty storage and
# built again with another empty storage, takes every step from there and makes the same image; a step that changed is
# built, with all after it.
source "$(dirname "$0")/lib.sh"
need_buildah
need skopeo jq

# What each step writes is told by nothing but the step that ran.
dockerfile() {
    cat <<DOCKERFILE
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]
ENV PATH=/bin
RUN busybox cat /proc/sys/kernel/random/uuid >/one
WORKDIR /work
RUN busybox dd if=/dev/urandom of=two bs=1024 count=3000 2>/dev/null
RUN busybox cat /proc/sys/kernel/random/uuid >/$1
RUN busybox cat /proc/sys/kernel/random/uuid >/four
DOCKERFILE
}

# build MACHINE CONTEXT: on a machine that has nothing but the registry.
build() {
    buildah_clean "$1"
    must "buildah does not build on the $1 machine" buildah_in "$1" gradle build --layers --format oci \
        --cache-from "$REGISTRY/team/cache" --cache-to "$REGISTRY/team/cache" -t "$REGISTRY/team/app:$1" "$WORK/$2"
    cp "$WORK/$1.out" "$WORK/$1.build"
    must "buildah does not push from the $1 machine" buildah_in "$1" gradle push "$REGISTRY/team/app:$1"
}

from_cache() { grep -c -- '--> Cache pulled from remote ' "$WORK/$1.build" || true; }
pushed() { grep -c -- '--> Pushing cache ' "$WORK/$1.build" || true; }
# expect MACHINE STEPS STEPS: so many from the registry, so many into it.
expect() {
    local found
    found="$(from_cache "$1") and $(pushed "$1")"
    [ "$found" = "$2 and $3" ] || { cat "$WORK/$1.build"; fail "the $1 build took and stored $found steps, not $2 and $3"; }
}
# Its digest stands for all that is in the layers.
image() {
    skopeo_as gradle inspect --raw "docker://$REGISTRY/team/app:$1" | jq -er .config.digest || fail "no image of the $1 build"
}

dockerfile three | busybox_context "$WORK/context"
dockerfile changed | busybox_context "$WORK/changed"
start_registry

build first context
expect first 0 8
build second context
expect second 8 0
[ "$(image second)" = "$(image first)" ] || fail "the second build made another image: $(image second), not $(image first)"

# What was pushed outlives the node.
kill_node
start_registry
build third context
expect third 8 0
build fourth changed
expect fourth 6 2
[ "$(image fourth)" != "$(image first)" ] || fail "a changed step made the same image"

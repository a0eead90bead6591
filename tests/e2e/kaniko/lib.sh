# shellcheck shell=bash disable=SC2034 # some variables are for the tests
# What the tests with kaniko share: an executor in a root of its own, images made from a tar, assertions on its log.
# kaniko unpacks images over its own root, so every run gets one to throw away. All mounts are made in a mount
# namespace of the run: they end with it, however it ends, and nothing outside sees them or could clean through them.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

EXECUTOR=      # process id of the run that was started last
executors=()   # all of them

kaniko_cleanup() {
    trap '' INT TERM
    local id
    # unshare does not listen to SIGTERM; its children die with it.
    for id in "${executors[@]}"; do
        { kill -9 "$id" && wait "$id"; } 2>/dev/null || true
    done
    cleanup
}
trap kaniko_cleanup EXIT

need_kaniko() {
    local tool
    for tool in skopeo curl busybox unshare setpriv dpkg; do
        command -v "$tool" >/dev/null || skip "no $tool" "tests/e2e/install.sh"
    done
    KANIKO=${LARDER_TEST_TOOLS:+$LARDER_TEST_TOOLS/kaniko}
    [ -x "$KANIKO" ] || KANIKO=$(command -v kaniko) || skip "no kaniko" \
        "build or copy its static executor, name it kaniko, and put it on PATH or into the directory LARDER_TEST_TOOLS"
    KANIKO=$(realpath "$KANIKO")
    unshare --mount --pid --fork --mount-proc true 2>/dev/null || skip "no right to mount" "run it as root"
}

# --- images

# skopeo must not look at who is logged in on this machine.
anybody() { say '{}' >"$WORK/nobody.json" && say "$WORK/nobody.json"; }

registry_copy() { # FROM TO [OPTION ...]
    skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false --authfile "$(anybody)" \
        "${@:3}" "$1" "$2" || fail "skopeo cannot copy $1 to $2"
}

put_image() { registry_copy "$1" "docker://127.0.0.1:$PORT/$2" --dest-creds "$LOGIN:$PASSWORD"; } # FROM NAME:TAG

# A whole copy: skopeo compares every layer with its digest.
get_image() { registry_copy "docker://127.0.0.1:$PORT/$1" "$2" --src-creds "$LOGIN:$PASSWORD"; } # NAME:TAG TO

inspect_image() { # NAME:TAG [OPTION ...]
    skopeo --insecure-policy inspect --tls-verify=false --authfile "$(anybody)" --creds "$LOGIN:$PASSWORD" \
        "${@:2}" "docker://127.0.0.1:$PORT/$1" || fail "skopeo cannot inspect $1"
}

# layout_of TAR DIRECTORY: an OCI layout with that tar as the one layer of its image.
layout_of() {
    local blobs=$2/blobs/sha256 type=application/vnd.oci.image unpacked layer config manifest
    mkdir -p "$blobs"
    blob() { # FILE: its digest; it moves to where it belongs
        local digest
        digest=$(sha256sum <"$1" | cut -d' ' -f1)
        chmod 644 "$1"
        mv "$1" "$blobs/$digest"
        say "$digest"
    }
    descriptor() { printf '{"mediaType":"%s","digest":"sha256:%s","size":%d}' "$1" "$2" "$(stat -c %s "$blobs/$2")"; }
    unpacked=$(sha256sum <"$1" | cut -d' ' -f1)
    gzip -nc1 "$1" >"$2/new"
    layer=$(blob "$2/new")
    printf '{"architecture":"%s","os":"linux","config":{"Env":["%s"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$(dpkg --print-architecture)" "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$unpacked" >"$2/new"
    config=$(blob "$2/new")
    printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' "$type.manifest.v1+json" \
        "$(descriptor "$type.config.v1+json" "$config")" "$(descriptor "$type.layer.v1.tar+gzip" "$layer")" >"$2/new"
    manifest=$(blob "$2/new")
    printf '{"schemaVersion":2,"manifests":[%s]}' "$(descriptor "$type.manifest.v1+json" "$manifest")" >"$2/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$2/oci-layout"
}

# put_small_base NAME:TAG: an image of 2 MB, busybox and no more.
put_small_base() {
    local tree=$WORK/busybox
    mkdir -p "$tree/bin" "$tree/etc" "$tree/tmp"
    cp "$(command -v busybox)" "$tree/bin/busybox"
    chroot "$tree" /bin/busybox --install -s /bin 2>/dev/null || skip "busybox is not a static one" "apt-get install busybox-static"
    say 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
    tar -C "$tree" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$WORK/busybox.tar" .
    layout_of "$WORK/busybox.tar" "$WORK/busybox.oci"
    put_image "oci:$WORK/busybox.oci" "$1"
}

# --- the executor

# Runs in the namespaces of one run. The mounts look like those of a container: kaniko leaves alone what is mounted.
# shellcheck disable=SC2016
in_root='
    set -eu
    root=$1 context=$2 kaniko=$3
    shift 3
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty; do
        : >"$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    for file in hosts resolv.conf; do
        mount --bind "$root.$file" "$root/etc/$file"
    done
    if [ -n "$kaniko" ]; then
        mount --bind -o ro "$kaniko" "$root/kaniko/executor"
        mount --bind -o ro "$context" "$root/workspace"
    fi
    cd /
    exec timeout --foreground -s KILL 300 env -i "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        HOME=/root DOCKER_CONFIG=/kaniko/.docker chroot "$root" "$@"'

# in_container ROOT CONTEXT KANIKO COMMAND ...: starts the command in that root, in the background. CONTEXT and KANIKO
# may be empty. The log is ROOT.log, the process $EXECUTOR.
in_container() {
    local root=$1
    mkdir -p "$root"/{proc,dev,etc,tmp,root}
    chmod 1777 "$root/tmp"
    say "127.0.0.1 localhost $(uname -n)" >"$root.hosts"
    cat /etc/resolv.conf >"$root.resolv.conf" 2>/dev/null || : >"$root.resolv.conf"
    # Places to mount them on; an image may have links there.
    for file in hosts resolv.conf; do
        rm -f "$root/etc/$file"
        : >"$root/etc/$file"
    done
    # Dies with this script, even if that is killed.
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
        sh -c "$in_root" sh "$@" >"$root.log" 2>&1 &
    EXECUTOR=$!
    executors+=("$EXECUTOR")
}

# start_kaniko NAME CONTEXT ARGUMENT ...: starts a build of that directory, with the password of $LOGIN for the node
# and with plain HTTP for it. The log is $WORK/NAME.log.
start_kaniko() {
    local root=$WORK/$1
    rm -rf --one-file-system "$root"
    mkdir -p "$root"/{kaniko/.docker,workspace}
    : >"$root/kaniko/executor"
    printf '{"auths":{"127.0.0.1:%s":{"auth":"%s"}}}\n' "$PORT" "$(printf %s "$LOGIN:$PASSWORD" | base64 -w 0)" \
        >"$root/kaniko/.docker/config.json"
    in_container "$root" "$2" "$KANIKO" /kaniko/executor --force --log-format=text --log-timestamp=true \
        --context=dir:///workspace --insecure-registry="127.0.0.1:$PORT" "${@:3}"
}

# kaniko NAME CONTEXT ARGUMENT ...: such a build, which must succeed. Its root is gone afterwards.
kaniko() {
    start_kaniko "$@"
    ended "$1" "$EXECUTOR"
}

ended() { # NAME PROCESS
    wait "$2" || { tail -n 60 "$WORK/$1.log"; fail "kaniko failed in $1"; }
    rm -rf --one-file-system "${WORK:?}/$1"
}

# --- its log

# assert_layers NAME HITS MISSES: so many steps came from the cache, so many lookups found nothing. The first miss of
# a stage ends its lookups: there is one at most.
assert_layers() {
    local log=$WORK/$1.log hits misses
    hits=$(grep -c 'Using caching version of cmd' "$log" || true)
    misses=$(grep -c 'No cached layer found for cmd' "$log" || true)
    if [ "$hits" != "$2" ] || [ "$misses" != "$3" ]; then
        cat "$log"
        fail "$1: $hits steps from the cache and $misses lookups in vain, not $2 and $3"
    fi
    # It only warns when it cannot read a layer or store one.
    if grep -E 'level=(warning|error|fatal)' "$log"; then
        fail "$1: kaniko complains"
    fi
}

# Steps as they begin in the Dockerfile.
assert_hit() { assert_said "$1" 'Using caching version of cmd' "${@:2}"; }   # NAME STEP ...
assert_miss() { assert_said "$1" 'No cached layer found for cmd' "${@:2}"; } # NAME STEP ...
assert_said() {
    local step
    for step in "${@:3}"; do
        # The log has quotes escaped. Without -q: the first grep must be able to write all it has.
        grep -F "$2" "$WORK/$1.log" | grep -F -e " ${step//\"/\\\"}" >"$WORK/said" ||
            { cat "$WORK/$1.log"; fail "$1: not said of '$step': $2"; }
    done
}

# assert_file NAME:TAG PATH TEXT: the image that was pushed has this file with this text.
assert_file() {
    local blob found=
    rm -rf "$WORK/copy"
    get_image "$1" "dir:$WORK/copy"
    while read -r blob; do
        # A later layer wins.
        tar -xOf "$WORK/copy/${blob#sha256:}" "$2" >"$WORK/file" 2>/dev/null && found=$(cat "$WORK/file")
    done < <(inspect_image "$1" --format '{{range .Layers}}{{println .}}{{end}}')
    [ "$found" = "$3" ] || fail "$1: /$2 is '$found', not '$3'"
}

# two_steps PORT: a context in $context whose Dockerfile has two steps on the base image of the registry there.
two_steps() {
    context=$WORK/context
    mkdir "$context"
    cat >"$context/Dockerfile" <<END
FROM 127.0.0.1:$1/team/base:1
RUN echo one >/one
RUN cat /one /one >/two
END
}

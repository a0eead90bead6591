# shellcheck shell=bash disable=SC2119,SC2120 # start_registry mostly needs no arguments
# What the tests of the registry share: images without a base to pull, clients that keep to $WORK, credentials, BuildKit.
# Sources ../lib.sh; whatever is started here is gone when the test ends, however it ends.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

buildkit= # process id of BuildKit's namespaces

# Nothing of whoever runs this: no configuration, no credentials, no storage.
unset REGISTRY_AUTH_FILE STORAGE_DRIVER STORAGE_OPTS BUILDAH_ISOLATION BUILDAH_FORMAT BUILDAH_LAYERS BUILDKIT_HOST DOCKER_HOST
for name in "${!OCI_@}"; do unset "$name"; done
export HOME=$WORK/home TMPDIR=$WORK/tmp DOCKER_CONFIG=$WORK/docker XDG_RUNTIME_DIR=$WORK/run CONTAINERS_CONF=$WORK/containers.conf
mkdir -p "$HOME" "$TMPDIR" "$DOCKER_CONFIG" "$XDG_RUNTIME_DIR"
: >"$CONTAINERS_CONF"
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$WORK/policy.json"
printf 'unqualified-search-registries = []\n' >"$WORK/registries.conf"

oci_cleanup() {
    trap '' INT TERM
    stop_buildkit
    cleanup
}
trap oci_cleanup EXIT

# need COMMAND[=PACKAGE] ...: commands that Debian has.
need() {
    local entry
    for entry; do
        command -v "${entry%%=*}" >/dev/null || skip "no ${entry%%=*}" "apt-get install ${entry#*=}"
    done
}

# need_tool VARIABLE NAME HOW: a program from $LARDER_TEST_TOOLS or the path, its place in the variable.
need_tool() {
    local place=${LARDER_TEST_TOOLS:-}/$2
    [ -x "$place" ] || place=$(command -v "$2") || skip "no $2" "$3, and set LARDER_TEST_TOOLS to its directory"
    printf -v "$1" %s "$place"
}

need_root() { [ "$(id -u)" = 0 ] || skip "$1 needs root" "run it as root"; }

# start_registry [NAME=VALUE ...]: start_node, and its host and port in $REGISTRY.
start_registry() {
    start_node "$@"
    REGISTRY=127.0.0.1:$PORT
}

# users NAME=GRANT ...: a configuration with these users, $anonymous for everybody else; all have $PASSWORD.
users() {
    local entry
    CONFIG=$WORK/larder.toml
    printf '[auth]\nanonymous = "%s"\n' "${anonymous:-none}" >"$CONFIG"
    for entry; do
        printf '\n[[auth.user]]\nname = "%s"\npassword = "%s"\ngrants = ["%s"]\n' \
            "${entry%%=*}" "$PASSWORD" "${entry#*=}" >>"$CONFIG"
    done
}

# auth_file USER: a file for --authfile with that user's credentials; without a user nobody's.
auth_file() {
    local file=$WORK/auth-${1:-nobody}.json
    if [ -n "${1:-}" ]; then
        printf '{"auths":{"%s":{"auth":"%s"}}}\n' "$REGISTRY" "$(printf %s "$1:$PASSWORD" | base64 -w 0)" >"$file"
    else
        printf '{"auths":{}}\n' >"$file"
    fi
    say "$file"
}

# waited COMMAND ...: runs it so that a signal ends the test at once, and it with it.
waited() {
    local status=0
    "$@" </dev/null &
    client=$!
    wait "$client" || status=$?
    client=
    return $status
}

# waited contained DIRECTORY COMMAND ...: what skopeo and buildah remember of registries (which blob is where) begins
# empty and stays in that directory; whatever they mount goes with them.
contained() {
    mkdir -p "$1"
    if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
        # shellcheck disable=SC2016 # the inner shell's
        exec unshare --mount sh -c \
            'mkdir -p /var/lib/containers && mount --bind "$0" /var/lib/containers && exec timeout 300 "$@"' "$@"
    fi
    exec timeout 300 "${@:2}"
}

# skopeo_as USER COMMAND ...: "" is nobody. Its words are in $WORK/skopeo.err.
skopeo_as() {
    local side=(--tls-verify=false) flags=()
    [ "$2" != copy ] || side=(--quiet --src-tls-verify=false --dest-tls-verify=false)
    [ -z "${skopeo_debug:-}" ] || flags=(--debug)
    waited contained "$WORK/containers" skopeo "${flags[@]}" --policy "$WORK/policy.json" --tmpdir "$TMPDIR" \
        --registries-conf "$WORK/registries.conf" "$2" --authfile "$(auth_file "$1")" "${side[@]}" "${@:3}" 2>"$WORK/skopeo.err"
}

# must WHAT COMMAND ...: it succeeds, or the test fails with what the client last said.
must() {
    : >"$WORK/skopeo.err"
    if "${@:2}"; then return; fi
    tail -n 20 "$WORK/skopeo.err" >&2
    [ "$2" != buildah_in ] || tail -n 40 "$WORK/$3.out" >&2
    fail "$1"
}

# busybox_context DIRECTORY: a build context with a static busybox; the Dockerfile comes on standard input.
busybox_context() {
    mkdir -p "$1"
    cp "$(command -v busybox)" "$1/busybox"
    cat >"$1/Dockerfile"
}

# --- buildah

need_buildah() {
    need buildah runc busybox=busybox-static
    need_root "a build with chroot"
    ! ldd "$(command -v busybox)" >/dev/null 2>&1 || skip "busybox is not static" "apt-get install busybox-static"
}

# buildah_in NAME USER COMMAND ...: with a storage of that name in $WORK. Its words are in $WORK/NAME.out.
buildah_in() {
    local side=(--tls-verify=false --authfile "$(auth_file "$2")")
    [ "$3" != build ] || side+=(--isolation chroot --network host)
    waited contained "$WORK/buildah-$1/containers" buildah --root "$WORK/buildah-$1/root" --runroot "$WORK/buildah-$1/run" \
        --storage-driver vfs --registries-conf "$WORK/registries.conf" "$3" "${side[@]}" "${@:4}" >"$WORK/$1.out" 2>&1
}

# buildah_clean NAME: nothing of that storage is left.
buildah_clean() { rm -rf --one-file-system "$WORK/buildah-$1"; }

# --- BuildKit

need_buildkit() {
    need_root "BuildKit"
    need runc busybox=busybox-static unshare=util-linux
    need_tool BUILDKITD buildkitd "get buildkitd and buildctl from github.com/moby/buildkit"
    need_tool BUILDCTL buildctl "get it together with buildkitd"
}

# start_buildkit: with an empty root. In namespaces of its own, so that with their first process everything goes: what it
# runs, what it mounted.
start_buildkit() {
    local try
    rm -rf --one-file-system "$WORK/buildkit"
    mkdir -p "$WORK/buildkit"
    cat >"$WORK/buildkit/buildkitd.toml" <<TOML
root = "$WORK/buildkit/root"
[grpc]
address = ["unix://$WORK/buildkit/socket"]
[worker.oci]
enabled = true
snapshotter = "native"
networkMode = "host"
defaultCgroupParent = "/${WORK##*/}"
gc = false
[worker.containerd]
enabled = false
[registry."$REGISTRY"]
http = true
TOML
    unshare --mount --pid --fork --kill-child --mount-proc \
        "$BUILDKITD" --config "$WORK/buildkit/buildkitd.toml" >"$WORK/buildkitd.log" 2>&1 &
    buildkit=$!
    for ((try = 0; try < 300; try++)); do
        "$BUILDCTL" --addr "unix://$WORK/buildkit/socket" debug workers >"$WORK/workers" 2>&1 || true
        if grep -q linux "$WORK/workers"; then return; fi
        kill -0 "$buildkit" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$WORK/buildkitd.log" "$WORK/workers"
    fail "BuildKit does not start"
}

stop_buildkit() {
    [ -n "$buildkit" ] || return 0
    local first
    # The first process of the namespaces; unshare goes when it is gone.
    for first in $(cat "/proc/$buildkit/task/$buildkit/children" 2>/dev/null) "$buildkit"; do
        kill -9 "$first" 2>/dev/null || true
        [ "$first" = "$buildkit" ] || wait "$buildkit" 2>/dev/null || true
    done
    wait "$buildkit" 2>/dev/null || true
    buildkit=
    find /sys/fs/cgroup -maxdepth 4 -depth -type d -path "*/${WORK##*/}*" -exec rmdir {} + 2>/dev/null || true
}

# buildkit_as USER NAME CONTEXT ARGUMENT ...: a build; its words are in $WORK/NAME.log.
buildkit_as() {
    cp "$(auth_file "$1")" "$DOCKER_CONFIG/config.json"
    waited timeout 300 "$BUILDCTL" --addr "unix://$WORK/buildkit/socket" build --progress plain --frontend dockerfile.v0 \
        --local context="$3" --local dockerfile="$3" "${@:4}" >"$WORK/$2.log" 2>&1
}

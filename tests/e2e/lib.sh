# shellcheck shell=bash disable=SC2119,SC2120 # start_node mostly needs no arguments
# What the end-to-end tests share: a node of their own on a free port, Gradle in clean checkouts, assertions.
# A test sources this file, calls need_gradle or what else it needs, and works in $WORK; whatever was started,
# mounted or written is gone when it ends, however it ends. LARDER_TEST_KEEP=1 leaves $WORK behind.
set -euo pipefail

E2E=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LARDER_BIN=${LARDER_BIN:-$E2E/../../target/release/larder}
PASSWORD=e2e-password # the same everywhere: a Gradle daemon keeps the environment that it was started with
WORK=$(mktemp -d "${TMPDIR:-/tmp}/larder-e2e.XXXXXX")
DATA=$WORK/data       # of the directory store
LOGIN=gradle          # the user of Gradle and curl
NODE=                 # process id of the node
PORT=
client=               # process id of a running Gradle
mounted=

# No setting of whoever runs this may leak into a node, no proxy into a client.
for name in "${!LARDER_@}"; do
    case $name in LARDER_BIN | LARDER_FAULTY_BIN | LARDER_TEST_*) export -n "${name?}" ;; *) unset "$name" ;; esac
done
unset BUILD_CACHE_USER BUILD_CACHE_PASSWORD GRADLE_OPTS JAVA_OPTS
export NO_PROXY='*' no_proxy='*'

say() { printf '%s\n' "$*"; }

# The logs so far are part of the message: the work directory will be gone.
fail() {
    say "FAILED: $*" >&2
    if [ -s "$WORK/larder.log" ]; then
        say "--- the node's last words" >&2
        tail -n 25 "$WORK/larder.log" >&2
    fi
    exit 1
}

# skip WHY HOW: this cannot be run here; HOW to make it run.
skip() {
    say "SKIP $1: $2"
    exit 77
}

cleanup() {
    trap '' INT TERM
    [ -z "$NODE" ] || kill_node
    if [ -n "$client" ]; then
        kill "$client" 2>/dev/null || true
    fi
    # A daemon of our own, or one that still builds for us: it would go on writing where we clean.
    if [ -d "${gradle_home:-}/daemon" ] && { [ -n "$client" ] || [ -z "${E2E_GRADLE_HOME:-}" ]; }; then
        gradle -g "$gradle_home" --stop >/dev/null 2>&1 || true
    fi
    wait 2>/dev/null || true
    [ -z "$mounted" ] || umount -l "$mounted" || true
    if [ -n "${LARDER_TEST_KEEP:-}" ]; then
        say "kept: $WORK"
        return
    fi
    for _ in 1 2 3 4 5; do
        if rm -rf --one-file-system "$WORK" 2>/dev/null && sleep 0.1 && [ ! -e "$WORK" ]; then return; fi
        sleep 1
    done
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- the node

# start_node [NAME=VALUE ...]: starts the node on $DATA, with these variables in its environment, and waits until
# it is ready. $CONFIG names a configuration file; without one there is the user gradle. Started again it keeps
# its port. $NODE_BIN is another binary than larder.
start_node() {
    local try with=(BUILD_CACHE_PASSWORD="$PASSWORD") arguments=()
    [ -z "${CONFIG:-}" ] || { with=(); arguments=(--config "$CONFIG"); }
    [ -x "${NODE_BIN:-$LARDER_BIN}" ] || fail "no binary at ${NODE_BIN:-$LARDER_BIN}: cargo build --release, or set LARDER_BIN"
    [ -n "$PORT" ] || PORT=$(free_port)
    mkdir -p "$DATA"
    env LARDER_SERVER_LISTEN="127.0.0.1:$PORT" LARDER_STORE_URL="file://$DATA" \
        "${with[@]}" "$@" "${NODE_BIN:-$LARDER_BIN}" "${arguments[@]}" >"$WORK/larder.out" 2>>"$WORK/larder.log" &
    NODE=$!
    for ((try = 0; try < 200; try++)); do
        if curl -fs -o "$WORK/readyz" "http://127.0.0.1:$PORT/readyz"; then return; fi
        kill -0 "$NODE" 2>/dev/null || fail "the node ended at its start"
        sleep 0.05
    done
    fail "the node is not ready after ten seconds"
}

# Below the ports that the kernel hands out by itself.
free_port() {
    local port
    while :; do
        port=$((10000 + RANDOM % 20000))
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    say "$port"
}

stop_node() {
    kill -TERM "$NODE"
    wait "$NODE" || fail "the node ended with status $? on SIGTERM"
    NODE=
}

kill_node() {
    # The shell tells who was killed: not here.
    { kill -9 "$NODE" && wait "$NODE"; } 2>/dev/null || true
    NODE=
}

# The block for settings.gradle as the node printed it (not its Kotlin twin), for the user $LOGIN.
printed_block() {
    awk '
        !depth && /^[ \t]*buildCache \{/ { block = ""; start = 1 }
        depth || start {
            block = block $0 "\n"
            depth += gsub(/\{/, "{") - gsub(/\}/, "}")
            start = 0
            if (!depth && block ~ /remote\(HttpBuildCache\)/) { printf "%s", block; found = 1; exit }
        }
        END { exit !found }' "$WORK/larder.out" |
        sed "s/username = .*/username = '$LOGIN'/"
}

# http PATH [OPTION ...]: curl as $LOGIN.
http() {
    curl -sS --max-time 60 -u "$LOGIN:$PASSWORD" "http://127.0.0.1:$PORT$1" "${@:2}"
}

# metric 'NAME{LABEL="VALUE"}': the sum of its samples; 0 where there is none.
metric() {
    http /metrics -f | awk -v name="${1%%\{*}" -v label="$(sed -n 's/^[^{]*{\(.*\)}$/\1/p' <<<"$1")" '
        $0 !~ /^#/ && ($1 == name || index($1, name "{") == 1) && (label == "" || index($0, label)) { sum += $NF }
        END { printf "%.3f\n", sum }'
}

# assert_metric METRIC COMPARISON NUMBER: assert_metric 'larder_gradle_declined_total{reason="no-space"}' '>=' 1
assert_metric() {
    local value
    value=$(metric "$1") || fail "/metrics cannot be read"
    awk "BEGIN { exit !($value $2 $3) }" || fail "$1 is $value, not $2 $3"
}

# --- Gradle

# Debian's Gradle 4.4.1 runs with Java 8 to 17 (and 21 where Debian patched it so).
need_gradle() {
    local home tool
    for home in "${LARDER_TEST_JAVA_HOME:-}" /usr/lib/jvm/java-17-openjdk-* /usr/lib/jvm/default-java; do
        if [ -x "$home/bin/javac" ]; then
            export JAVA_HOME=$home
            break
        fi
    done
    [ -x "${JAVA_HOME:-}/bin/javac" ] || skip "no JDK" "apt-get install default-jdk-headless"
    for tool in gradle curl; do
        command -v "$tool" >/dev/null || skip "no $tool" "apt-get install $tool"
    done
    [ -e /usr/share/java/junit4.jar ] || skip "no JUnit 4" "apt-get install junit4"
    gradle_home=${E2E_GRADLE_HOME:-$WORK/gradle-home}
    mkdir -p "$gradle_home"
    # Should nobody be left to stop the daemon, it goes by itself.
    say 'org.gradle.daemon.idletimeout=60000' >"$gradle_home/gradle.properties"
}

# checkout NAME: a clean checkout of the project in $WORK/NAME, with what the node printed in its settings.
checkout() {
    rm -rf "${WORK:?}/$1"
    cp -r "$E2E/gradle/project" "$WORK/$1"
    # An example binary prints none; it listens where larder did.
    [ -n "${NODE_BIN:-}" ] || printed_block >"$WORK/block" ||
        fail "no block for settings.gradle in what the node printed: $(cat "$WORK/larder.out")"
    sed -i -e "/@larder@/r $WORK/block" "$WORK/$1/settings.gradle"
}

# gradle_in NAME ARGUMENT ...: runs Gradle in that checkout; the log is $WORK/NAME.log. The build must succeed and
# must not have lost its cache. When the build reaches its hook, the function $on_hook is called.
gradle_in() {
    local name=$1 log=$WORK/$1.log
    (cd "$WORK/$name" && CI=1 BUILD_CACHE_PASSWORD=$PASSWORD exec timeout --foreground 240 \
        gradle -g "$gradle_home" --daemon --console=plain "${@:2}") >"$log" 2>&1 &
    client=$!
    while [ -n "${on_hook:-}" ] && kill -0 "$client" 2>/dev/null; do
        if [ -e "$WORK/hook.reached" ]; then
            "$on_hook"
            rm "$WORK/hook.reached"
        fi
        sleep 0.1
    done
    wait "$client" || { tail -n 60 "$log"; fail "Gradle failed in $name"; }
    client=
    assert_cache_on "$log"
}

# build NAME ARGUMENT ...: a clean checkout, and a build of everything in it.
build() {
    checkout "$1"
    gradle_in "$1" build "${@:2}"
}

# A script for -Phook that lets the test act ($on_hook) while the build waits.
hook_script() {
    printf '#!/bin/sh\n: >"%s"\nwhile [ -e "%s" ]; do sleep 0.1; done\n' "$WORK/hook.reached" "$WORK/hook.reached" >"$WORK/hook"
    chmod +x "$WORK/hook"
    say "$WORK/hook"
}

# The tasks of the project that Gradle can cache.
cacheable() {
    local module
    for module in core text app; do
        printf ":$module:%s\n" compileJava compileTestJava test
    done
    say :app:digestTable
}

# The task's key, from the log of a build with --info.
key_of() { # LOG TASK
    sed -n "s/^Build cache key for task '$2' is \([0-9a-f]*\)$/\1/p" "$1" | grep . || fail "no key of $2 in $1"
}

# One error, and Gradle does without its cache for the rest of the build: none of these may be in a log.
assert_cache_on() {
    grep -q '^BUILD SUCCESSFUL' "$1" || { tail -n 60 "$1"; fail "no success in $(basename "$1")"; }
    if grep -iE 'build cache (was|is) disabled|could not (load|store|read|write)|corrupt' "$1"; then
        fail "Gradle lost its cache in $(basename "$1")"
    fi
}

from_cache() { grep -qE "^(> Task )?$2 FROM-CACHE" "$1"; }

assert_from_cache() { # LOG TASK ...
    local task
    for task in "${@:2}"; do
        from_cache "$1" "$task" || { grep -E '^(> Task )?:' "$1"; fail "$task not FROM-CACHE in $(basename "$1")"; }
    done
}

assert_not_from_cache() { # LOG TASK ...
    local task
    for task in "${@:2}"; do
        grep -qE "^(> Task )?$task" "$1" || fail "$task is not in $(basename "$1")"
        ! from_cache "$1" "$task" || fail "$task FROM-CACHE in $(basename "$1")"
    done
}

# --- the store's files

record_of() { say "$DATA/gradle/default/${1:0:2}/$1"; }

# The payload that the record names: one that it no longer names may lie beside it.
payload_of() {
    local name
    name=$(head -n 1 "$(record_of "$1")" | grep -oE "$1\.[0-9A-Z]{26}" | head -n 1) || fail "the record of $1 names no payload"
    say "$DATA/gradle/default/${1:0:2}/$name"
}

# flip FILE OFFSET: turns one bit over.
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# offset_of FILE PATTERN: of the first byte after the pattern.
offset_of() {
    local match
    match=$(grep -obaP -m 1 "$2" "$1" | head -n 1) || fail "no $2 in $1"
    say $((${match%%:*} + $(printf %s "${match#*:}" | wc -c)))
}

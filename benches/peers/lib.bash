# Shared by run, start, oci and oci-memory: file systems to measure on, servers to measure, and
# the certainty that nothing of it stays behind. Sourced, never executed.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
export PYTHONDONTWRITEBYTECODE=1
PATH=$PATH:/usr/sbin:/sbin # nginx and mkfs of a user who is not root

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is not installed ($2)"; }

# ---- cleaning up --------------------------------------------------------------

work=""           # everything lies below it
declare -A pids   # server name -> process id
declare -A ports  # server name -> port
mounts=()         # mount points, oldest first

cleanup() {
  local status=$? name i
  trap - EXIT INT TERM HUP
  set +e
  ((status < 128)) || say "$(basename "$0"): ended by a signal (status $status)"
  for name in "${!pids[@]}"; do stop "$name"; done
  for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
    umount "${mounts[i]}" 2>/dev/null || umount -l "${mounts[i]}"
  done
  if [[ -n $work && -n ${PEERS_KEEP:-} ]]; then
    say "kept: $work"
  elif [[ -n $work ]]; then
    rm -rf --one-file-system "$work"
  fi
  exit "$status"
}

# Call it once, before anything is started: make_work [MIB]. In memory, unless
# that has not half as much again as the MIB that are wanted.
make_work() {
  local base=${TMPDIR:-/tmp} mib=${1:-0} free
  if [[ -w /dev/shm ]]; then
    free=$(df -BM --output=avail /dev/shm | tail -n 1 | tr -dc 0-9)
    ((free * 2 >= mib * 3)) && base=/dev/shm
  fi
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  work=$(mktemp -d "$base/larder-peers.XXXXXX")
}

# ---- file systems -------------------------------------------------------------

data_kind=""  # what the header says about where the data lies

# A new, empty file system: new_disk NAME SIZE_MIB [mkfs options]. The path is in
# $disk. With root: ext4, with its journal, in an image in memory. Otherwise a
# plain directory, which is slower and noisier.
new_disk() {
  local name=$1 mib=$2 image=$work/$1.img
  shift 2
  disk=$work/$name
  mkdir -p "$disk"
  if ((EUID == 0)) && [[ $work == /dev/shm/* && $data_kind != directory* ]]; then
    truncate -s "${mib}M" "$image"
    # Nothing is left to be initialised lazily: that would run during a case.
    mkfs.ext4 -q -F -m 0 -E lazy_itable_init=0,lazy_journal_init=0 "$@" "$image"
    if mount -o loop,noatime "$image" "$disk" 2>"$work/mount.err"; then
      mounts+=("$disk")
      data_kind="ext4 with journal, ${mib} MiB loop image in /dev/shm, noatime"
      return
    fi
    rm -f "$image"
    say "no loop mount here ($(cat "$work/mount.err")): a plain directory instead"
  fi
  data_kind="directory $work ($(stat -f -c %T "$work")): NOT a journaled file system in memory, needs root"
}

# Takes the file system away with all that is in it: drop_disk NAME.
drop_disk() {
  local dir=$work/$1 kept=() mount
  for mount in "${mounts[@]}"; do
    if [[ $mount == "$dir" ]]; then
      umount "$dir" || { sleep 1 && umount "$dir"; }
    else
      kept+=("$mount")
    fi
  done
  mounts=(${kept[@]+"${kept[@]}"})
  rm -rf --one-file-system "$dir"
  rm -f "$dir.img"
}

# Memory that is warm when a writing case takes it: hold_ballast MIB, and
# release_ballast just before. ballast.py says why.
hold_ballast() {
  local mib=$1 third
  third=$(awk '/MemAvailable/ { print int($2 / 3072) }' /proc/meminfo)
  ((mib <= third)) || mib=$third
  rm -f "$work/ballast"
  python3 "$here/ballast.py" "$mib" "$work/ballast" &
  pids[ballast]=$!
  while [[ ! -e $work/ballast ]]; do
    kill -0 "${pids[ballast]}" 2>/dev/null || die "the memory for a writing case could not be held"
    sleep 0.1
  done
}

release_ballast() { end ballast KILL 0; }

# ---- servers ------------------------------------------------------------------

password=bench-$RANDOM$RANDOM
authorization="Basic $(printf 'gradle:%s' "$password" | base64 -w0)"

# The larder to measure, in this order: LARDER_BIN, the build, PATH.
find_larder() {
  local target=${CARGO_TARGET_DIR:-$repo/target} try
  for try in "${LARDER_BIN:-}" "$target/dist/larder" "$target/release/larder"; do
    [[ -n $try && -x $try ]] && { printf '%s\n' "$try"; return; }
  done
  command -v larder || true
}

# A program that no package registry carries: LARDER_TEST_TOOLS, then PATH.
find_tool() {
  if [[ -n ${LARDER_TEST_TOOLS:-} && -x $LARDER_TEST_TOOLS/$1 ]]; then
    printf '%s\n' "$LARDER_TEST_TOOLS/$1"
  else
    command -v "$1" || true
  fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until URL answers with anything below 500: wait_http NAME URL LOG.
wait_http() {
  local name=$1 url=$2 log=$3 i code
  for ((i = 0; i < 1000; i++)); do
    code=$(curl --noproxy '*' -s -o /dev/null -m 2 -w '%{http_code}' "$url" || true)
    [[ $code != 000 && $code -lt 500 ]] && return
    if ! kill -0 "${pids[$name]}" 2>/dev/null; then break; fi
    sleep 0.02
  done
  say "$name did not come up at $url (last answer $code); its log ends with:"
  tail -n 20 "$log" >&2 || true
  exit 1
}

# start NAME DATA [prefix command...]: the peer NAME with its data below DATA.
start() {
  local name=$1 data=$2 port log run
  shift 2
  port=$(free_port)
  log=$work/$name.log
  run=$work/run-$name
  mkdir -p "$data" "$run"
  ports[$name]=$port
  case $name in
    nginx) start_nginx "$port" "$data" "$run" "$@" >>"$log" 2>&1 ;;
    bazel-remote) start_bazel_remote "$port" "$data" "$@" >>"$log" 2>&1 ;;
    larder) start_larder "$name" "$port" "$data" "$@" >>"$log" 2>&1 ;;
    larder-nosync) LARDER_STORE_FSYNC=never start_larder "$name" "$port" "$data" "$@" >>"$log" 2>&1 ;;
    zot) start_zot "$name" "$port" "$data" "$run" false "$@" >>"$log" 2>&1 ;;
    zot-sync) start_zot "$name" "$port" "$data" "$run" true "$@" >>"$log" 2>&1 ;;
    docker-registry) start_docker_registry "$port" "$data" "$run" "$@" >>"$log" 2>&1 ;;
    *) die "no such peer: $name" ;;
  esac
  case $name in
    nginx) wait_http "$name" "http://127.0.0.1:$port/cache/ready" "$log" ;;
    bazel-remote) wait_http "$name" "http://127.0.0.1:$port/status" "$log" ;;
    larder*) wait_http "$name" "http://127.0.0.1:$port/readyz" "$log" ;;
    zot* | docker-registry) wait_http "$name" "http://127.0.0.1:$port/v2/" "$log" ;;
  esac
}

start_nginx() {
  local port=$1 data=$2 run=$3 user="" nofile
  shift 3
  # Its worker would be a user who may not look into our directory.
  ((EUID == 0)) && user="user root;"
  nofile=$(ulimit -Hn)
  [[ $nofile == unlimited ]] || ((nofile > 65536)) && nofile=65536
  mkdir -p "$data/tmp" "$data/cache"
  sed -e "s|@USER@|$user|; s|@PORT@|$port|; s|@RUN@|$run|; s|@DATA@|$data|" \
    -e "s|@NOFILE@|$nofile|; s|@FILES@|$((nofile / 2))|" \
    -e "s|@BODY_BUFFER@|${PEERS_NGINX_BODY_BUFFER:-128k}|" \
    "$here/nginx.conf.in" >"$run/nginx.conf"
  "$@" nginx -p "$run" -e "$run/nginx-error.log" -c "$run/nginx.conf" </dev/null &
  pids[nginx]=$!
}

start_bazel_remote() {
  local port=$1 data=$2
  shift 2
  "$@" "$bazel_remote" --dir "$data" --max_size 1000 --storage_mode uncompressed \
    --http_address "127.0.0.1:$port" --grpc_address none --access_log_level none \
    --disable_http_ac_validation </dev/null &
  pids[bazel-remote]=$!
}

# Defaults but for the address, the directory and a user. LARDER_* of the caller
# reach it, and run's header names them.
start_larder() {
  local name=$1 port=$2 data=$3
  shift 3
  env -u LARDER_BIN -u LARDER_TEST_TOOLS -u LARDER_TEST_REQUIRE_TOOLS -u BUILD_CACHE_USER \
    LARDER_SERVER_LISTEN="127.0.0.1:$port" LARDER_STORE_URL="file://$data" \
    BUILD_CACHE_PASSWORD="$password" \
    "$@" "$larder" serve </dev/null &
  pids[$name]=$!
}

# Nobody is asked for a password; no collection, no links between equal blobs:
# each costs it time. `commit` makes it sync what it is given.
start_zot() {
  local name=$1 port=$2 data=$3 run=$4 commit=$5
  shift 5
  cat >"$run/config.json" <<EOF
{"distSpecVersion": "1.1.1",
 "storage": {"rootDirectory": "$data", "gc": false, "dedupe": false, "commit": $commit},
 "http": {"address": "127.0.0.1", "port": "$port", "compat": ["docker2s2"]},
 "log": {"level": "error"}}
EOF
  "$@" "$zot" serve "$run/config.json" </dev/null &
  pids[$name]=$!
}

# No password either; descriptors of blobs are kept in memory, as in Debian's own
# configuration. Nothing quieter than error can be asked for.
start_docker_registry() {
  local port=$1 data=$2 run=$3
  shift 3
  cat >"$run/config.yml" <<EOF
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: "$data"}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
EOF
  "$@" docker-registry serve "$run/config.yml" </dev/null &
  pids[docker-registry]=$!
}

# Ends a server whose data go away with it: stop NAME.
stop() {
  # larder would drain for seconds; nginx's master must be asked, or its worker
  # stays behind.
  if [[ $1 == larder* ]]; then end "$1" KILL 0; else end "$1" TERM 10; fi
}

# Ends it in order, for those who look at its data afterwards: stop_cleanly NAME.
stop_cleanly() { end "$1" TERM 30; }

end() {
  local name=$1 signal=$2 seconds=$3 pid=${pids[$1]:-} i
  [[ -n $pid ]] || return 0
  unset "pids[$name]"
  kill "-$signal" "$pid" 2>/dev/null || true
  if [[ $signal != KILL ]]; then
    for ((i = 0; i < seconds * 50; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.02
    done
    kill -KILL "$pid" 2>/dev/null && say "$name ignored SIG$signal for $seconds s: killed"
  fi
  wait "$pid" 2>/dev/null || true
}

# ---- what the numbers were measured on ----------------------------------------

describe_machine() {
  local model
  model=$(sed -n '/^model name/ { s/^[^:]*: //p; q; }' /proc/cpuinfo)
  echo "date:      $(date -u '+%Y-%m-%d %H:%M UTC')"
  echo "machine:   $(nproc) cores, ${model:-$(uname -m)}, $(awk '/MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
  echo "kernel:    $(uname -sr)"
  echo "load:      $(cut -d' ' -f1-3 /proc/loadavg) before"
}

# ---- registries -----------------------------------------------------------------

larder="" zot=""

# The programs of some registries, or an end with advice: find_peers PEER...
find_peers() {
  local peer
  for peer in "$@"; do
    case $peer in
      nginx) need nginx "Debian: nginx" ;;
      docker-registry) need docker-registry "Debian: docker-registry" ;;
      zot)
        zot=$(find_tool zot)
        [[ -n $zot ]] ||
          die "zot is neither in \$LARDER_TEST_TOOLS nor on PATH (github.com/project-zot/zot, releases); or leave it out with --peers" ;;
      larder)
        larder=$(find_larder)
        [[ -n $larder ]] || die "no larder: cargo build --release first, or set LARDER_BIN" ;;
      *) die "no such peer: $peer" ;;
    esac
  done
}

# Releases say their version, builds of one's own nothing.
zot_version() {
  local said
  said=$("$zot" --version 2>&1 | sed -n 's/.*"commit":"\([^"]\{1,\}\)".*/\1/p' | head -n 1)
  echo "zot ${said:-of unnamed version, sha256 $(sha256sum "$zot" | cut -c1-12)}"
}

# The client that is not wrk; the standard library is all it needs.
build_load() {
  local rustc=${RUSTC:-rustc}
  need "$rustc" "what builds larder"
  "$rustc" -O --edition 2024 -o "$work/oci_load" "$here/oci_load.rs" || die "the client could not be built"
}

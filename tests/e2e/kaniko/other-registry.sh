#!/bin/bash
# Proves that larder can be the layer cache of builds whose images go to another registry: the base image and the image
# are there, with a user of its own, and larder holds the layers alone.
source "$(dirname "$0")/lib.sh"
need_kaniko
command -v docker-registry >/dev/null || skip "no docker-registry" "apt-get install docker-registry"

start_node
node_port=$PORT

# The other one. skopeo and kaniko speak plain HTTP to it because it is on 127.0.0.1.
other=$(free_port)
mkdir "$WORK/other"
cat >"$WORK/other.yml" <<END
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $WORK/other } }
http: { addr: "127.0.0.1:$other" }
END
setpriv --pdeathsig KILL docker-registry serve "$WORK/other.yml" >"$WORK/other.log" 2>&1 &
executors+=("$!")
for ((try = 0; try < 200; try++)); do
    curl -fs -o "$WORK/other.ready" "http://127.0.0.1:$other/v2/" && break
    sleep 0.05
done
[ -e "$WORK/other.ready" ] || fail "docker-registry did not start: $(cat "$WORK/other.log")"

at_other() { # COMMAND ...
    PORT=$other "$@"
}

at_other put_small_base team/base:1
two_steps "$other"

build() { # NAME
    kaniko "$1" "$context" --insecure --insecure-pull --cache=true --cache-repo="127.0.0.1:$node_port/team/cache" \
        --destination="127.0.0.1:$other/team/app:$1"
}

build first
assert_layers first 0 1
build second
assert_layers second 2 0
at_other assert_file team/app:second two "$(printf 'one\none')"

# Who has what.
repositories=$(curl -fsS "http://127.0.0.1:$other/v2/_catalog")
[[ $repositories != *cache* ]] || fail "layers went to the other registry, too: $repositories"
for tag in first second; do
    status=$(http "/v2/team/app/manifests/$tag" -o /dev/null -w '%{http_code}' -H 'Accept: */*')
    [ "$status" = 404 ] || fail "larder has an answer for team/app:$tag: $status"
done

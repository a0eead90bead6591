#!/bin/bash
# Proves that a task may take longer than the node keeps an idle connection: the limit is announced in Keep-Alive, so
# Gradle does not store over a connection that is gone (without the header gradle/gradle#14943: the cache goes off).
# Naps just beyond the limit are the point: from two seconds on Gradle looks whether the connection still stands.
source "$(dirname "$0")/../lib.sh"
need_gradle

start_node LARDER_SERVER_KEEP_ALIVE=1s

# The limit is in force: the node ends an idle connection by itself.
exec 3<>"/dev/tcp/127.0.0.1/$PORT"
printf 'GET /healthz HTTP/1.1\r\nHost: larder\r\n\r\n' >&3
timeout 20 cat <&3 >"$WORK/answer" || fail "an idle connection is not ended"
exec 3>&-
grep -qi '^keep-alive: *timeout=1' <(http "/cache/0123456789abcdef0123456789abcdef" -D - -o "$WORK/body") ||
    fail "no Keep-Alive: timeout=1 in the answer to a lookup"

checkout first
gradle_in first nap -Pnaps=1050,1200,1400,1700,2500
assert_metric larder_gradle_stores_total == 5
assert_metric larder_gradle_declined_total == 0

checkout second
gradle_in second nap -Pnaps=1050,1200,1400,1700,2500
assert_from_cache "$WORK/second.log" :nap1050 :nap1200 :nap1400 :nap1700 :nap2500

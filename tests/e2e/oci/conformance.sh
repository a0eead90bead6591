#!/bin/bash
# Shows that larder is a registry as the OCI's own tests understand it: the suite that was rewritten in 2026, with all
# that it leaves out by itself, and the suite of the specification 1.1.1. Nothing fails, and nothing is left out but what
# is named here. Both log in as a user with an admin grant, and never send a password before they are asked for it.
source "$(dirname "$0")/lib.sh"
how="build it from github.com/opencontainers/distribution-spec/conformance"
need_tool SUITE oci-conformance "$how, main, with: go build -o oci-conformance ."
need_tool SUITE_1_1_1 oci-conformance-1.1.1 "$how, tag v1.1.1, with: go test -c -o oci-conformance-1.1.1"

# Without tags beforehand, with pushes and with mounts that succeed these four of 1.1.1 have nothing to do.
skips_1_1_1='Content Discovery Setup Populate registry with test tags (no push)
Pull Setup Get tag name from environment
Push Cross-Repository Blob Mount Cross-mounting of nonexistent blob should yield session id
Push Cross-Repository Blob Mount Cross-mounting without from, and automatic content discovery disabled should return a 202'

# Other children than those that were pushed are refused: larder promises that what a manifest names can be pulled.
disabled='Sparse Manifests: Disabled'

problems=0
problem() {
    problems=$((problems + 1))
    say "$*"
}

rewritten() {
    local out=$WORK/rewritten.out status=0 table count
    waited env OCI_REGISTRY="$REGISTRY" OCI_TLS=disabled OCI_REPO1=conf/one OCI_REPO2=conf/two OCI_VERSION=dev \
        OCI_USERNAME=keeper OCI_PASSWORD="$PASSWORD" OCI_RESULTS_DIR="$WORK/rewritten" OCI_DATA_SPARSE=false \
        OCI_API_BLOBS_DIGEST_HEADER=true OCI_API_MANIFESTS_DIGEST_HEADER=true OCI_API_BLOBS_UPLOAD_CANCEL=true \
        OCI_API_MANIFESTS_TAG_PARAM=true timeout 300 "$SUITE" >"$out" 2>"$WORK/rewritten.err" || status=$?
    # It ends with 0, too, when it could not begin.
    grep -q '^OCI Conformance Result: ' "$out" ||
        { cat "$WORK/rewritten.err"; fail "the rewritten suite gave no result (status $status)"; }

    # "  Blob push.....:   Pass" in three tables: how many of each result, then each API, then each kind of data.
    table=$(sed -n '/^OCI Conformance Result: /,$ s/^  \([A-Za-z0-9][^.]*\)\.*: *\([A-Za-z0-9]*\)$/\1: \2/p' "$out")
    count=$(sed -nE 's/^(Disabled|Skip|Pass|FAIL|Error|Total): ([0-9]+)$/\1 \2/p' <<<"$table" | paste -sd ,)
    say "rewritten: ${count//,/, }"
    [ $status = 0 ] || problem "rewritten: it ended with status $status"
    [ "$(grep -cE '^(Disabled|Skip|FAIL|Error): 0$' <<<"$table")" = 4 ] || problem "rewritten: something failed or was left out:"
    # A name and its result, and where it failed or was left out the reasons below it.
    awk '/^Configuration:/ { exit }
        /: (FAIL|Skip|Error|Disabled)$/ { name = $0; sub(/^ */, "", name); next }
        /: Pass$/ { name = "" }
        name && /^ *- / { sub(/^ *- /, ""); if (++found <= 40) print "  " name "\n    " substr($0, 1, 400) }
        END { if (found > 40) print "  and " found - 40 " more" }' "$out"
    table=$(grep -vE '^(Disabled|Skip|Pass|FAIL|Error|Total): ' <<<"$table")
    grep -qxF "$disabled" <<<"$table" || problem "rewritten: not as expected: $disabled"
    if grep -vE ': Pass$' <<<"$table" | grep -vxF "$disabled"; then problem "rewritten: these should pass"; fi
    # Fewer than when this was written: something is not looked at any more.
    [ "$(wc -l <<<"$table")" -ge 52 ] || problem "rewritten: only $(wc -l <<<"$table") APIs and kinds of data"
    count=$(grep -c '<testcase ' "$WORK/rewritten/junit.xml")
    [ "$count" -ge 793 ] || problem "rewritten: only $count checks"
}

version_1_1_1() {
    local out=$WORK/1.1.1.out report=$WORK/1.1.1/junit.xml results=$WORK/1.1.1.results status=0 skipped
    local title='OCI Distribution Conformance Tests '
    mkdir -p "$WORK/1.1.1"
    waited env -C "$WORK/1.1.1" OCI_ROOT_URL="http://$REGISTRY" OCI_NAMESPACE=conf/three OCI_CROSSMOUNT_NAMESPACE=conf/four \
        OCI_USERNAME=keeper OCI_PASSWORD="$PASSWORD" OCI_TEST_PULL=1 OCI_TEST_PUSH=1 OCI_TEST_CONTENT_DISCOVERY=1 \
        OCI_TEST_CONTENT_MANAGEMENT=1 OCI_AUTOMATIC_CROSSMOUNT=1 OCI_REPORT_DIR="$WORK/1.1.1" \
        timeout 300 "$SUITE_1_1_1" --ginkgo.no-color >"$out" 2>&1 || status=$?
    [ -s "$report" ] || { tail -n 20 "$out"; fail "the suite of 1.1.1 gave no report (status $status)"; }

    # <testcase name="OCI Distribution Conformance Tests ..." classname="..." status="...">; one is the report itself.
    sed -nE "s/^ *<testcase name=\"$title([^\"]*)\" classname=\"[^\"]*\" status=\"([a-z]*)\".*/\2 \1/p" "$report" |
        sed "s/&#39;/'/g" >"$results"
    say "1.1.1: $(cut -d ' ' -f 1 "$results" | sort | uniq -c | awk '{ printf "%s %s, ", $2, $1 }')$(wc -l <"$results") in all"
    [ $status = 0 ] || problem "1.1.1: it ended with status $status"
    if grep -qvE '^(passed|skipped) ' "$results"; then
        problem "1.1.1: these failed:"
        sed -nE '/<testcase /h; /<failure /{ G; s/^ *<failure message="([^"]*)".*<testcase name="'"$title"'([^"]*)".*/  \2\n    \1/p }' \
            "$report" | sed -E "s/&#xA;|&#x9;/ /g; s/&lt;/</g; s/&gt;/>/g; s/&#39;/'/g; s/&#34;|&quot;/\"/g; s/&amp;/\&/g" |
            sed -E 's/([^ ]) +/\1 /g' | cut -c 1-400
    fi
    skipped=$(sed -n 's/^skipped //p' "$results" | sort)
    if ! diff <(sort <<<"$skips_1_1_1") <(printf '%s\n' "$skipped"); then
        problem "1.1.1: left out (>) or not left out (<) against expectation"
    fi
    [ "$(grep -c '^passed ' "$results")" = 75 ] || problem "1.1.1: not 75 passed"
    # What a registry need not have is a warning there.
    if grep -E 'WARNING|is not (supported|implemented)' "$out"; then problem "1.1.1: it warns"; fi
}

users keeper='oci:**=admin'
start_registry
rewritten
version_1_1_1
[ $problems = 0 ] || fail "$problems findings above"

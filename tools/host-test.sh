#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the tests that need no VM and leaves their results in a file, from which
# the runner takes the totals. Succeeds even if tests fail: the totals tell.
#
#   host-test.sh <result file>
set -euo pipefail
log=${1:?usage: host-test.sh <result file>}

echo "==> testing on the host" >&2
mkdir -p "$(dirname "$log")"
status=0
cargo test --quiet --workspace --no-fail-fast -- --color never >"$log" 2>&1 || status=$?
grep -E '^(test result|failures:|---- |error)' "$log" || true
# A crate that does not compile has no results, so that must be told apart.
echo "exit status $status" >>"$log"

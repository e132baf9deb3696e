# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Results of what runs in a guest, one line each: "ok 7 - name" or "not ok 7 - name",
# and below it what the command printed. Sourced.

checks=0 failed=0

check() { # NAME COMMAND...: the command succeeds
	local name=$1 log status=0 verdict=ok
	shift
	log=$("$@" 2>&1) || status=$?
	if [ $status != 0 ]; then
		verdict="not ok"
		failed=$((failed + 1))
	fi
	checks=$((checks + 1))
	echo "$verdict $checks - $name"
	[ -z "$log" ] || echo "# ${log//$'\n'/$'\n'# }"
	return $status
}
skip() { # NAME REASON
	checks=$((checks + 1))
	echo "ok $checks - $1 # SKIP $2"
}
fails() { ! "$@"; }
prints() { # TEXT COMMAND...: its output contains TEXT
	local text=$1 out
	shift
	out=$("$@" 2>&1)
	echo "$out"
	grep -qF -- "$text" <<<"$out"
}

# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Runs commands, called steps, one after another or in lanes beside each other,
# and adds up their results. Sourced by .ci/run and tools/test-all.sh:
#
#   steps_begin DIRECTORY      keep logs there
#   step NAME COMMAND...       run one step; returns its status
#   enqueue NAME COMMAND...    keep a step for whichever lane is free first
#   lanes FUNCTION...          run functions that call `step`, beside each other;
#                              each then runs enqueued steps until none is left
#   steps_end                  print a table and the totals; fails if a step failed
#
# What a step prints goes to DIRECTORY/NAME.log and is shown as a whole when the
# step has ended, so that the output of two lanes does not mix. Until then a line
# each half minute says what runs, for how many seconds, and what it said last.
#
# The shell that sources this must run under `set -u`, and not under `set -e`.

# steps_begin DIRECTORY
steps_begin() {
	steps=$1 steps_started=$SECONDS step_pid='' lane_pids=() heartbeat_pid=''
	rm -rf "$steps"
	mkdir -p "$steps"
	: >"$steps/results"
	: >"$steps/queue"
	trap 'steps_stop 130' INT
	trap 'steps_stop 143' TERM HUP
	steps_heartbeat &
	heartbeat_pid=$!
}

# step NAME COMMAND...
step() {
	local name=$1 log=$steps/$1.log started=$SECONDS status=0 seconds last verdict
	shift
	# Nothing new begins when the shell in which steps_begin ran was killed.
	kill -0 $$ 2>/dev/null || exit 1
	echo "$started" >"$steps/$name.running"
	# A process group of its own, so that all of it can be stopped.
	setsid "$@" >"$log" 2>&1 </dev/null &
	step_pid=$!
	wait "$step_pid" || status=$?
	step_pid=''
	seconds=$((SECONDS - started))
	rm -f "$steps/$name.running"

	# make has the last word when a command of its failed.
	last=$(grep -v '^make' "$log" | tail -n 1)
	verdict=ok
	[ "$status" = 0 ] || verdict="FAILED, status $status"
	# Tests end with their totals, the benchmark with how many targets it met.
	[[ $last =~ ^[0-9]+\ (passed|met|configurations) ]] && verdict+=": $last"
	printf '%s\t%s\t%s\t%s\n' "$name" "$seconds" "$status" "$verdict" >>"$steps/results"
	{
		flock 9
		printf '\n### %s: %s\n' "$name" "$*"
		cat "$log"
		printf '### %s: %s (%s seconds)\n' "$name" "$verdict" "$seconds"
	} 9>"$steps/lock"
	return "$status"
}

# enqueue NAME COMMAND...
enqueue() {
	printf '%q ' "$@" >>"$steps/queue"
	echo >>"$steps/queue"
}

# steps_next: takes the first of the steps that were enqueued, and prints it.
steps_next() {
	{
		flock 8
		head -n 1 "$steps/queue"
		sed -i 1d "$steps/queue"
	} 8>"$steps/queue.lock"
}

# lanes FUNCTION...
lanes() {
	local lane pid
	for lane; do
		steps_lane "$lane" &
		lane_pids+=("$!")
	done
	for pid in "${lane_pids[@]}"; do
		wait "$pid" || printf 'lane\t0\t1\tFAILED, ended early\n' >>"$steps/results"
	done
	lane_pids=()
}

# steps_lane FUNCTION: a lane, in a shell of its own. Its steps fail for
# themselves, so it succeeds if it comes to its end.
steps_lane() {
	local next
	lane_pids=() heartbeat_pid=''
	trap 'steps_stop 143' TERM
	"$1"
	while next=$(steps_next) && [ -n "$next" ]; do
		eval "step $next"
	done
	exit 0
}

# steps_end
steps_end() {
	local name seconds status verdict passed=0 failed=0 skipped=0
	kill "$heartbeat_pid"
	wait "$heartbeat_pid" 2>/dev/null
	trap - INT TERM HUP
	printf '\n%-16s %8s  %s\n' step seconds result
	while IFS=$'\t' read -r name seconds status verdict; do
		[ "$status" = 0 ] || verdict+="; $steps/$name.log"
		printf '%-16s %8s  %s\n' "$name" "$seconds" "$verdict"
		if [[ $verdict =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
			passed=$((passed + BASH_REMATCH[1]))
			failed=$((failed + BASH_REMATCH[2]))
			skipped=$((skipped + BASH_REMATCH[3]))
			[ "$status" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || failed=$((failed + 1))
		elif [ "$status" != 0 ]; then
			failed=$((failed + 1))
		fi
	done <"$steps/results"
	printf '%-16s %8s\n' 'all together' $((SECONDS - steps_started))
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
}

# Says what runs.
steps_heartbeat() {
	local never line file name
	trap - INT TERM HUP
	# A read that times out, because a `sleep` would outlive this shell.
	exec {never}<> <(:)
	while kill -0 $$ 2>/dev/null; do
		read -rt 30 -u "$never" && continue
		line=
		for file in "$steps"/*.running; do
			[ -e "$file" ] || continue
			name=$(basename "$file" .running)
			line+="  [$name, $((SECONDS - $(<"$file"))) s] $(tail -n 1 "$steps/$name.log" | cut -c1-60)"
		done
		{
			flock 9
			printf '... %s s:%s\n' $((SECONDS - steps_started)) "$line"
		} 9>"$steps/lock"
	done
}

# steps_stop STATUS: ends what this shell has started, and this shell.
steps_stop() {
	local pid
	trap '' INT TERM HUP
	[ -z "$step_pid" ] || kill -TERM -- "-$step_pid" 2>/dev/null
	for pid in "${lane_pids[@]}" $heartbeat_pid; do
		kill -TERM "$pid" 2>/dev/null
	done
	wait
	exit "$1"
}

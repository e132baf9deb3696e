# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # guest.sh has the devices; check calls the functions
#
# A user without rights who runs DPDK, as its guide for Linux says: a rule of udev gives
# the groups to the user, and a limit allows to lock memory.

# as_user LIMIT COMMAND...
as_user() {
	local limit=$1
	shift
	prlimit --memlock="$limit" setpriv --reuid user --regid user --clear-groups \
		env XDG_RUNTIME_DIR=/home/user "$@"
}
# testpmd in small pages, which count as locked.
user_forwards() { # LIMIT
	local out
	out=$(printf '%s\n' "start tx_first" "show port stats all" stop quit |
		as_user "$1" dpdk-testpmd -l 0-1 -n 1 --no-telemetry --no-huge -m 64 \
			-a "${devices[0]}" -a "${devices[1]}" -- \
			--interactive --no-mlockall --total-num-mbufs=4096 --rxd=256 --txd=256 2>&1)
	echo "$out"
	grep -q "TX-packets: [1-9]" <<<"$out"
}
is_refused() { # LIMIT PATTERN: it does not run, and says why
	local out
	! out=$(user_forwards "$1") || return
	echo "$out"
	grep -q "$2" <<<"$out"
}
belongs_to_user() {
	local device
	for device in "${devices[@]}"; do
		[ "$(stat -c %U "/dev/vfio/$(group_of "$device")")" = user ] || return
	done
}

step_user() {
	start_udev
	# udev knows only such as are of the system.
	useradd --system --create-home user
	client dpdk-testpmd dpdk-dev
	check "two network cards are given to vfio-pci" give_to_vfio "${devices[@]}"
	check "another user's groups are refused to a user" is_refused unlimited "/dev/vfio/.*Permission denied"
	echo 'SUBSYSTEM=="vfio", OWNER="user"' >/etc/udev/rules.d/10-dpdk.rules
	udevadm control --reload
	udevadm trigger --action=add --subsystem-match=vfio
	check "udev gives them to the user" wait_for 60 belongs_to_user
	check "who forwards packets with them, allowed to lock memory" user_forwards unlimited
	check "and cannot with a limit of 1 MiB" is_refused $((1 << 20)) "DMA remapping.*Cannot allocate memory"
	check "and can with one of 128 MiB" user_forwards $((128 << 20))
	rm /etc/udev/rules.d/10-dpdk.rules
	udevadm control --reload
}

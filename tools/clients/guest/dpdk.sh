# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # guest.sh has the devices; check calls the functions
#
# DPDK's testpmd on two network cards that are on one wire.

# testpmd START WORD... -- WORD...: lets it forward for some seconds. START is the
# command by which it begins.
testpmd() {
	local start=$1
	shift
	{
		echo "$start"
		sleep 8
		printf '%s\n' stop quit
	} | dpdk-testpmd -l 0-1 -n 1 --no-telemetry -a "${devices[0]}" -a "${devices[1]}" "$@" \
		--interactive --total-num-mbufs=4096 --rxd=256 --txd=256
}
# Packets went, and came: the sums of all ports, which it prints at the end.
moves_packets() {
	local out
	out=$(testpmd "$@" 2>&1)
	echo "$out"
	sed -n '/Accumulated forward statistics/,$p' <<<"$out" |
		awk '$1 == "RX-packets:" { rx = $2 } $3 == "TX-packets:" || $1 == "TX-packets:" { tx = $0; sub(/.*TX-packets: */, "", tx) }
			END { exit !(rx > 0 && tx > 0) }'
}

step_dpdk() {
	client dpdk-devbind dpdk
	check "gives two network cards to vfio-pci" dpdk-devbind.py --bind=vfio-pci "${devices[@]}"
	check "shows that" prints drv=vfio-pci dpdk-devbind.py --status-dev net
	client dpdk-testpmd dpdk-dev
	check "forwards between both, by groups" moves_packets "start tx_first" -m 128 -- --forward-mode=io
	check "sends from both, by groups" moves_packets start -m 128 -- --forward-mode=txonly
	local kind
	for kind in msix msi legacy; do
		check "is told of the link by an interrupt, --vfio-intr=$kind" \
			prints "link state change event" testpmd "start tx_first" -m 128 --vfio-intr=$kind -- --forward-mode=io
	done
	check "uses addresses of memory as the devices', with --iova-mode=pa" \
		moves_packets "start tx_first" -m 128 --iova-mode=pa -- --forward-mode=io
	check "maps small pages" moves_packets "start tx_first" --no-huge -m 64 -- --forward-mode=io
	skip "by device nodes" "this version knows groups only"
}

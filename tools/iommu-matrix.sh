#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the tests that concern DMA on each IOMMU that QEMU emulates, and on a
# machine without one. The last line is the sum of all.
#
#   iommu-matrix.sh <kernel build tree> <modules> <programs> <scratch> <impl> [IOMMU [pattern]]
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage="usage: iommu-matrix.sh <kernel> <modules> <programs> <scratch> <impl> [IOMMU [pattern]]"
kernel=${1:?$usage} modules=${2:?$usage} programs=${3:?$usage} scratch=${4:?$usage}
impl=${5:?$usage} only=${6:-} pattern=${7:-}

# Attaching, mapping, DMA, interrupts, leaving: by container and by iommufd.
isolated=F010,F012,F013,F022,F023,F026,F029,F030_close,F035,F039,F040,F041,F044_bind,F047,F049
isolated+=,F050,F051,F052,F055,F074,F10,F110,F111,F112,F117,F118,F119,F123,F125,F137,F138,F139,F195,F196
isolated+=,R02,R03,R04,R09,R12,R55,T01,T02,T04,T10,T11,T13
# The same for devices that nothing isolates.
open=F003,F007_extensions,F141,F142,F143,R30

passed=0 failed=0 skipped=0 status=0
printf '%-18s with %s modules\n' IOMMU "$impl"
for iommu in intel intel-plain intel-scalable intel-first-stage amd virtio none; do
	[ -z "$only" ] || [ "$only" = "$iommu" ] || continue
	[ $iommu = none ] && tests=$open || tests=$isolated
	out=$scratch/$iommu
	mkdir -p "$out"
	if "$top/target/debug/vm" --kernel "$kernel" --modules "$modules" --programs "$programs" \
		--scratch "$out" --impl "$impl" --iommu "$iommu" test --pattern "${pattern:-$tests}" \
		>"$out/$impl.out" 2>&1; then
		printf '%-18s %s\n' "$iommu" "$(tail -n 1 "$out/$impl.out")"
	else
		status=1
		printf '%-18s FAILED: %s\n' "$iommu" "$(tail -n 1 "$out/$impl.out"); $out/$impl.out"
		grep -E '^FAILED' "$out/$impl.out" | sed 's/^/    /' || true
	fi
	# A VM that did not even boot has no totals; the status tells.
	read -r p _ f _ s _ < <(tail -n 1 "$out/$impl.out" | grep -E '^[0-9]+ passed, ' || echo 0 . 0 . 0 .)
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
echo "$passed passed, $failed failed, $skipped skipped"
exit $status

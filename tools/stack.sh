#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Shows which functions of the modules take most of the kernel's stack, which is
# 16 KiB for all that a system call does. No function may take more than 1 KiB.
#
#   stack.sh <directory with modules>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"

modules=${1:?usage: stack.sh <directory with modules>}
limit=1024

# The kernel's checkstack.pl also counts what is added to the stack pointer, so its
# numbers are twice as large. What a function pushes, at most 56 bytes, is not counted.
frames=$(for module in vfio vfio_iommu_type1; do
	objdump --disassemble "$modules/$module.ko" | awk -v module=$module '
		/^[0-9a-f]+ <.*>:$/ { name = substr($2, 2, length($2) - 3) }
		match($0, /sub +\$0x[0-9a-f]+,%rsp$/) { print $NF, module, name }'
done | while IFS='$,' read -r _ bytes rest; do
	echo "$((bytes)) ${rest#* }"
done | sort -rn | head -n 16 | c++filt)
printf '%6s  %-18s %s\n' bytes module function
while read -r bytes module function; do
	printf '%6s  %-18s %s\n' "$bytes" "$module" "$function"
done <<<"$frames"
read -r most _ <<<"$frames"
[ "$most" -le $limit ] || die "a function takes $most bytes of the stack; the limit is $limit"

#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the build tree that the modules are built against when KDIR names none:
# that of the kernel that runs or is named, if it is one of our series, else that of
# the VM's kernel.
#
#   kdir.sh [kernel release]
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"

release=${1:-$(uname -r)}
running=/lib/modules/$release/build
case $release in
"$series" | "$series"[!0-9]*) ;;
*)
	say "the modules are for Linux $series, not for $release: building for the VM's kernel"
	"$top/tools/setup.sh"
	exec "$top/tools/vm/kernel.sh" release
	;;
esac
if [ -f "$running/rust/libkernel.rmeta" ]; then
	echo "$running"
elif [ -f "/usr/src/linux-headers-$release/.kernelvariables" ] || grep -qsx 'ID=debian' /etc/os-release; then
	exec "$top/tools/distro/metadata.sh" "$release"
else
	die "$running has no Rust metadata (rust/libkernel.rmeta)." \
		"Name the tree that the kernel was built in: make KDIR=..."
fi

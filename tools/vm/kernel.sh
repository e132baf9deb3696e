#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds a VM kernel and prints the path of its build tree. The tree is kept
# under the cache by kernel version and configuration, so that a second call
# returns at once.
#
#   kernel.sh release|debug|cfi
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

flavour=${1:?usage: kernel.sh release|debug|cfi}
src=${KSRC:-$cache/src/linux-source-$series}
configs=("$top/tools/vm/configs/base.config")
[ "$flavour" = release ] || configs+=("$top/tools/vm/configs/$flavour.config")

[ -f "$src/Makefile" ] || die "no kernel source in $src: run 'make setup' first"
version=$(make -s --no-print-directory -C "$src" kernelversion)
key=$({ cat "${configs[@]}"; /usr/bin/rustc --version; "clang-$llvm" --version; } | sha256sum | cut -c1-12)
tree=$cache/kernels/$version-$flavour-$key

# When two ask for the same kernel at once, the second waits for the first.
mkdir -p "$tree"
exec 9>"$tree/.lock"
flock --nonblock 9 || { say "waiting for the $flavour kernel, which is being built"; flock 9; }

if [ ! -f "$tree/.complete" ]; then
	kmake() { make -C "$src" O="$tree" "${kernel_tools[@]}" "$@"; }
	say "configuring the $flavour kernel $version in $tree"
	kmake -s tinyconfig >&2
	cat "${configs[@]}" >>"$tree/.config"
	kmake -s olddefconfig >&2 2>/dev/null
	missing=$(cat "${configs[@]}" | grep -E '^(# )?CONFIG_' | sort -u | while read -r line; do
		symbol=$(sed -E 's/^(# )?(CONFIG_[A-Z0-9_]+).*/\2/' <<<"$line")
		wanted=$(cat "${configs[@]}" | grep -E "^(# )?${symbol}[ =]" | tail -n 1)
		case $wanted in
		"# "* | *=n) grep -qE "^$symbol=" "$tree/.config" && echo "  $wanted" ;;
		*) grep -qxF "$wanted" "$tree/.config" || echo "  $wanted" ;;
		esac
	done | sort -u)
	[ -z "$missing" ] || die "the kernel refuses these settings:"$'\n'"$missing"
	say "building it: 10 to 20 minutes on two cores, 15 to 30 with debugging"
	progress() {
		printf '    %s objects\n' "$(grep -cE '^ +(CC|RUSTC|AS) ' "$tree/build.log" || true)"
	}
	heartbeat progress
	kmake -j"$(nproc)" bzImage modules >"$tree/build.log" 2>&1 ||
		{ tail -n 30 "$tree/build.log" >&2; die "the kernel build failed: $tree/build.log"; }
	touch "$tree/.complete"
fi
echo "$tree"

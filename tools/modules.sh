#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the modules of a directory against a kernel build tree, with the very
# tools that the tree was built with; says what is wrong with a tree that will
# not do.
#
#   modules.sh <KDIR> <source directory> <output directory> [make arguments]
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"
# shellcheck source=tools/rust-tools.sh
. "$top/tools/rust-tools.sh"

usage="usage: modules.sh <KDIR> <source directory> <output directory> [make arguments]"
kdir=${1:?$usage} dir=${2:?$usage} out=${3:?$usage}
shift 3
# Kbuild looks for relative ones in the kernel's tree.
dir=$(realpath -- "$dir") out=$(realpath -m -- "$out")

no() { die "KDIR=$kdir $1"$'\n'"       $2"; }
value() { sed -n "s/^CONFIG_$1=//p" "$kdir/.config" | tr -d '"'; }

[ -d "$kdir" ] || no "is not there." "Name the build tree of a configured and built $series kernel."
kdir=$(cd "$kdir" && pwd)
if [ ! -f "$kdir/.config" ] || [ ! -f "$kdir/Makefile" ]; then
	no "is not a configured kernel build tree." "Run 'make menuconfig' and 'make' there first."
fi
[ "$(value RUST)" = y ] ||
	no "has CONFIG_RUST off." "Switch it on ('make rustavailable' says what is missing) and build."
if [ ! -f "$kdir/rust/libkernel.rmeta" ]; then
	no "has no Rust metadata (rust/libkernel.rmeta)." \
		"Header packages do not ship it: use the tree that the kernel was built in."
fi
release=$(cat "$kdir/include/config/kernel.release" 2>/dev/null || true)
case $release in
"$series" | "$series"[!0-9]*) ;;
*) no "is of kernel ${release:-?}." "These modules replace the ones of $series." ;;
esac
case $(value VFIO) in
y)
	# Other modules than VFIO's own will do.
	[ ! -f "$dir/rust_vfio/rust_vfio.rs" ] ||
		no "has VFIO built in (CONFIG_VFIO=y)." "Set CONFIG_VFIO=m: a module cannot replace built-in code."
	;;
m) ;;
*) no "has VFIO off." "Set CONFIG_VFIO=m; drivers such as vfio-pci come from the kernel." ;;
esac
if [ ! -f "$kdir/Module.symvers" ]; then
	no "is configured but not built (no Module.symvers)." "Run 'make' there first."
fi

wanted=$(value RUSTC_VERSION_TEXT)
rustc=$(obtain_rustc "$wanted") ||
	no "was built with $wanted." "Install that compiler, or name it: make RUSTC=..."
bindgen=$(find_bindgen "") ||
	die "bindgen is missing: run 'make setup', or name it: make BINDGEN=..."

bin=$(dirname "$rustc")
tools=("RUSTC=$rustc" "HOSTRUSTC=$rustc" "RUSTDOC=$bin/rustdoc" "RUSTFMT=$bin/rustfmt"
	"CLIPPY_DRIVER=$bin/clippy-driver" "BINDGEN=$bindgen")
if [ "$(value CC_IS_CLANG)" = y ]; then
	major=$(($(value CLANG_VERSION) / 10000))
	command -v "clang-$major" >/dev/null || no "was built with clang $major." "Install clang-$major."
	tools+=("LLVM=-$major")
fi

# The result does not say where it was built.
export KCFLAGS="${KCFLAGS:-} -ffile-prefix-map=$dir/=" KRUSTFLAGS="${KRUSTFLAGS:-} --remap-path-prefix=$dir/="
# Two builds in one directory would write the same files.
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
make -s -j"$(nproc)" -C "$kdir" "M=$dir" "MO=$out" "${tools[@]}" "$@"

# With CONFIG_RUST_INLINE_HELPERS each Rust module contains the kernel's helpers in
# C. One of them includes linux/pwm.h, and this header makes whoever includes it
# import the namespace PWM. Nothing here uses it. Zeroes end no field of modinfo.
shopt -s nullglob
for module in "$out"/*.ko; do
	! grep -q 'import_ns=PWM' "$module" ||
		LC_ALL=C sed -i 's/import_ns=PWM\x00/\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00/' "$module"
done

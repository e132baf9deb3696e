#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a build tree for Rust modules out of Debian's kernel headers, which lack
# the metadata of the kernel's Rust crates. The crates are compiled from the
# source package of the same version, with the configuration that the headers
# have. Takes some four minutes of CPU time, once for each kernel, and prints the
# path of the tree, which modules.sh takes as KDIR.
#
#   metadata.sh <kernel release>
#
# Why the result fits the kernel that runs: the versions of the packages must be
# equal, and the compiler and bindgen must say of themselves what the kernel's
# configuration says of the kernel's. At the end all names of Rust symbols that the
# kernel exports must be found in what was compiled. That alone would not do: a name
# tells the crate, the item and the compiler, and nothing of the code.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/rust-tools.sh
. "$top/tools/rust-tools.sh"

release=${1:?usage: metadata.sh <kernel release>}
headers=/usr/src/linux-headers-$release
source_package=linux-source-$series
archive=/usr/src/$source_package.tar.xz

# Unpacked is enough: DKMS builds while its headers are being configured. They may be held.
version_of() {
	[[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) == ?[iFUWt]* ]] &&
		dpkg-query -W -f='${Version}' "$1"
}

config() { sed -n "s/^CONFIG_$1=\"\(.*\)\"\$/\1/p" "$headers/.config"; }

# Checks that there is what the tree is made of, and of one version. Sets version.
check() {
	local have wanted missing=()
	version=$(version_of "linux-headers-$release") ||
		die "the headers of kernel $release are not installed:"$'\n'"    apt install linux-headers-$release"
	grep -qx 'CONFIG_RUST=y' "$headers/.config" ||
		die "kernel $release was built without Rust (CONFIG_RUST)"
	# The headers may be newer than the kernel, which keeps its name in an update.
	have=$(version_of "linux-image-$release" || true)
	[ -z "$have" ] || [ "$have" = "$version" ] ||
		die "the headers of kernel $release have version $version, the kernel has $have"
	have=$(version_of "$source_package" || true)
	if [ "$have" != "$version" ]; then
		# Backports has the newest version only.
		apt-cache madison "$source_package" | awk '{ print $3 }' | grep -xF "$version" >/dev/null ||
			die "kernel $release has version $version, and apt knows no $source_package of that. If" \
				"'apt update' does not help, update the kernel and its headers, and reboot."
		missing+=("$source_package=$version")
	fi
	wanted=$(config BINDGEN_VERSION_TEXT)
	bindgen=$(find_bindgen "$wanted") || missing+=("bindgen    # $wanted")
	[ ${#missing[@]} = 0 ] ||
		die "for the Rust metadata of kernel $release these are missing:"$'\n'"    apt install ${missing[*]}"
	wanted=$(config RUSTC_VERSION_TEXT)
	rustc=$(obtain_rustc "$wanted") ||
		die "kernel $release was built with $wanted, which is not on this machine and could not" \
			"be fetched from Debian. Name it: make RUSTC=..."
}

# The source tree: the headers that all flavours share, and the files that Debian
# leaves out.
overlay_source() {
	local common entry
	common=$(sed -n 's,^include \(.*\)/Makefile$,\1,p' "$headers/Makefile")
	[ -d "$common" ] || die "$headers/Makefile names no common headers"
	mkdir -p "$src/scripts" "$src/include/uapi"
	ln -s "$common/"{Makefile,arch,tools} "$src"
	# A real directory, because rust/ includes a header of drivers/ with a path
	# that begins there.
	for entry in "$common"/include/*; do
		[ "$entry" = "$common/include/uapi" ] || ln -s "$entry" "$src/include"
	done
	ln -s "$common"/include/uapi/* "$src/include/uapi"
	ln -s "$common"/scripts/* "$src/scripts"
	say "unpacking $source_package $version"
	tar -C "$src" --strip-components=1 -xf "$archive" \
		"$source_package/rust" \
		"$source_package/drivers/base/base.h" \
		"$source_package/drivers/android/binder" \
		"$source_package/scripts/generate_rust_target.rs" \
		"$source_package/scripts/rust_is_available_bindgen_libclang.h"
	find "$src/drivers" -type f ! -name '*.h' -delete
}

# The build tree: what the kernel's own build left, as far as the headers have it.
overlay_build() {
	local entry
	mkdir -p "$build/arch/x86" "$build/scripts"
	cp -a "$headers/include" "$headers/.config" "$headers/.kernelvariables" "$build"
	ln -s "$headers"/arch/x86/* "$build/arch/x86"
	ln -s "$headers"/{Module.symvers,vmlinux,tools} "$build"
	for entry in "$headers"/scripts/*; do
		[ "$(basename "$entry")" = target.json ] || ln -s "$entry" "$build/scripts"
	done
	printf 'KBUILD_OUTPUT=%s\ninclude %s/Makefile\n' "$build" "$src" >"$build/Makefile"
	# Newer than all that it was made of, or make would ask kconfig, which the
	# headers do not have.
	: >"$build/include/config/auto.conf.cmd"
	touch "$build/include/config/auto.conf" "$build/include/config/auto.conf.cmd" \
		"$build/include/generated/"{autoconf.h,rustc_cfg}
}

# The target that the kernel's Rust code is compiled for.
target() {
	"$rustc" --edition=2021 -O -o "$tree/generate_rust_target" "$src/scripts/generate_rust_target.rs"
	"$tree/generate_rust_target" <"$build/include/config/auto.conf" >"$build/scripts/target.json"
	rm "$tree/generate_rust_target"
}

# The crates. The kernel's makefiles have no goal for them alone that does not
# prepare much else, which the headers cannot.
compile() {
	local bin remap log=$tree/build.log
	bin=$(dirname "$rustc")
	# Names of source files do not say where this directory and the compiler's are.
	remap="--remap-path-prefix=$src/= --remap-path-prefix=$("$rustc" --print sysroot)/lib/rustlib/src/="
	cat >"$tree/crates.mk" <<-'END'
		include $(overlay)/Makefile
		rust-crates: ; $(Q)$(MAKE) $(build)=rust rust/kernel.o
	END
	say "compiling the Rust crates of kernel $release: some four minutes of one CPU"
	: >"$log"
	progress() { printf '    %s\n' "$(grep -E '^ +(RUSTC|BINDGEN|CC) ' "$log" | tail -n 1 | xargs)"; }
	heartbeat progress
	make --no-print-directory -j"$(nproc)" -C "$build" -f "$tree/crates.mk" "overlay=$src" "RUSTC=$rustc" \
		"HOSTRUSTC=$rustc" "RUSTDOC=$bin/rustdoc" "BINDGEN=$bindgen" "KRUSTFLAGS=$remap" rust-crates >"$log" 2>&1 ||
		{ tail -n 30 "$log" >&2; die "the crates do not build: $log"; }
}

# Checks that the crates have the symbols that the kernel exports.
verify() {
	local lacking
	lacking=$(comm -23 <(cut -f2 "$build/Module.symvers" | grep '^_R' | sort -u) \
		<(nm --defined-only --format=just-symbols "$build"/rust/*.o | sort -u))
	[ -z "$lacking" ] ||
		die "the crates lack $(wc -l <<<"$lacking") of the symbols that kernel $release exports:" \
			"it was built with other tools than these. The first: $(head -n 1 <<<"$lacking")"
}

for tree in "/var/cache/rust-vfio/$release" "$metadata_cache/$release"; do
	src=$tree/src build=$tree/build
	# Made for these very headers.
	if [ -e "$tree/.complete" ] &&
		[ "$(cat "$tree/.complete")" = "$(version_of "linux-headers-$release")" ]; then
		echo "$build"
		exit
	fi
done

check
mkdir -p "$metadata_cache"
exec 9>"$metadata_cache/.$release.lock"
flock --nonblock 9 || { say "waiting for the metadata of kernel $release, which is being made"; flock 9; }
if [ ! -e "$tree/.complete" ] || [ "$(cat "$tree/.complete")" != "$version" ]; then
	rm -rf "$tree"
	overlay_source
	overlay_build
	target
	compile
	verify
	echo "$version" >"$tree/.complete"
fi
echo "$build"

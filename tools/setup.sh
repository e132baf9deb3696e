#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs what building and testing need and this machine lacks: packages of
# Debian 12 or 13, the kernel's source, and bindgen. Says what it installs.
# Does nothing, quickly, when nothing is missing.
#
#   setup.sh           all that this project can do
#   setup.sh debian    only what a VM with Debian's own kernel needs, for which
#                      everything is built elsewhere: see distro/stage.sh
#   setup.sh packages  only what making that elsewhere needs, and vfioctl
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"

# Debian's security archive has one compiler (rustc-web) and one LLVM for both
# releases; the plain names of the same packages are older.
packages=(
	rustc-web rust-web-src rust-web-clippy rustfmt-web
	"clang-$llvm" "lld-$llvm" "llvm-$llvm" "libclang-$llvm-dev"
	gcc libc6-dev make flex bison bc libelf-dev libssl-dev uuid-dev cpio kmod rsync
	xz-utils ca-certificates perl python3-venv shellcheck
)
source_package=linux-source-$series
qemu="qemu-system-x86"
wanted=("$source_package" "$qemu" cargo)
case ${1:-} in
debian)
	packages=(gcc libc6-dev make kmod xz-utils mmdebstrap)
	wanted=("$qemu" cargo)
	;;
packages)
	packages=(gcc libc6-dev mmdebstrap)
	wanted=(cargo)
	;;
esac
wants() { [[ " ${wanted[*]} " == *" $1 "* ]]; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
version_of() { dpkg-query -W -f='${Version}' "$1" 2>/dev/null; }

. /etc/os-release
case ${VERSION_CODENAME:-} in
bookworm) suites=(bookworm-backports trixie-backports) qemu_suite=bookworm-backports ;;
trixie) suites=(trixie-backports) qemu_suite= ;;
*) suites=() qemu_suite= ;;
esac

# cargo may come from rustup; Debian's is as good, also the older one that belongs to the
# rustc of Debian 13. (That of Debian 12 is too old.)
if wants cargo && ! command -v cargo >/dev/null; then
	if [ "${VERSION_CODENAME:-}" = trixie ] && installed rustc &&
		[[ " ${packages[*]} " != *" rustc-web "* ]]; then
		packages+=(cargo)
	else
		packages+=(cargo-web)
	fi
fi

missing=()
for package in "${packages[@]}"; do
	installed "$package" || missing+=("$package")
done
if wants "$source_package" && [ -z "${KSRC:-}" ]; then
	installed "$source_package" || missing+=("$source_package")
fi
# igb, which the tests drive, came with QEMU 8.
if wants $qemu && { ! installed $qemu || dpkg --compare-versions "$(version_of $qemu)" lt 1:8; }; then
	missing+=("$qemu")
fi

if [ ${#missing[@]} -gt 0 ]; then
	[ ${#suites[@]} -gt 0 ] ||
		die "this is not Debian 12 or 13; install these yourself: ${missing[*]}"
	as_root=()
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "not root, and no sudo, to install: ${missing[*]}"
		as_root=(sudo)
	fi
	say "installing ${missing[*]}"
	# Images often come without apt's lists, and then apt knows nothing.
	"${as_root[@]}" apt-get -qq update

	# Backports are asked from the mirror that this machine uses already, and only
	# those that it does not know: apt reads nothing at all if one suite is listed
	# with two keyrings.
	# shellcheck disable=SC2016 # a variable of apt
	known=$(apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages')
	mirror=$("$top/tools/mirror.sh")
	for suite in "${suites[@]}"; do
		if ! wants "$qemu" || grep -qx "$suite" <<<"$known"; then continue; fi
		say "with $suite of $mirror"
		"${as_root[@]}" tee "/etc/apt/sources.list.d/rust-vfio-$suite.sources" >/dev/null <<-END
			Types: deb
			URIs: $mirror
			Suites: $suite
			Components: main
			Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
		END
		"${as_root[@]}" apt-get -qq update
	done

	# Each package from its own suite: newer releases also offer things that
	# do not fit this one.
	plain=()
	for package in "${missing[@]}"; do
		case $package in
		"$source_package") plain+=("$package/trixie-backports") ;;
		"$qemu") ;;
		*) plain+=("$package") ;;
		esac
	done
	install() {
		"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install -y --no-install-recommends --no-remove "$@" >&2 ||
			die "If packages are in the way, as rustc is in the way of rustc-web, this says which," \
				"and removes them if you leave out --simulate: sudo apt-get install --simulate $*"
	}
	[ ${#plain[@]} -eq 0 ] || install "${plain[@]}"
	if [[ " ${missing[*]} " == *" $qemu "* ]]; then
		install ${qemu_suite:+-t "$qemu_suite"} "$qemu"
	fi
fi

wants "$source_package" || exit 0

# The kernel's source. A newer package replaces it.
if [ -z "${KSRC:-}" ]; then
	stamp=$cache/src/.version
	version=$(version_of "$source_package")
	if [ "$(cat "$stamp" 2>/dev/null)" != "$version" ]; then
		say "unpacking $source_package $version"
		rm -rf "$cache/src"
		mkdir -p "$cache/src"
		tar -C "$cache/src" -xf "/usr/src/$source_package.tar.xz"
		echo "$version" >"$stamp"
	fi
fi

# bindgen, in a version that the kernel accepts: Debian 12 has an older one.
if [ ! -x "$cache/tools/bin/bindgen" ]; then
	say "building bindgen $bindgen_version (two minutes)"
	cargo install --quiet --locked bindgen-cli --version "$bindgen_version" --root "$cache/tools" >&2
fi

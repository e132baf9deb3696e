#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a root file system of Debian 13 with what builds modules for Debian's own
# kernel of our series: its compilers, the kernel's headers, source and binary. It
# lies in the cache, and nothing of it is installed on this machine.
#
#   stage.sh path                   print where it is
#   stage.sh release                print the release of its kernel
#   stage.sh update                 make it anew if Debian has a newer kernel of the series
#   stage.sh add PACKAGE...         install packages there that it lacks
#   stage.sh run COMMAND...         run a command in it, in the directory of this
#                                   project and with the same cache
#
# Each makes it first if it is not there: some 450 MB are fetched.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

stage=$cache/$suite

# inside COMMAND...: runs a command there, with mounts that end with it.
inside() {
	# shellcheck disable=SC2016 # variables of that shell
	"${as_root[@]}" unshare --mount --propagation private bash -ec '
		stage=$1 top=$2 cache=$3
		shift 3
		for dir in /dev /proc /sys "$top" "$cache"; do
			mkdir -p "$stage$dir"
			mount --rbind "$dir" "$stage$dir"
		done
		# Also what an interrupted command has made belongs to whom its place belongs to.
		give_back() {
			local release made
			[ ! -O "$top" ] || return 0
			release=$(cat "$stage/.complete")
			for made in "$top/build" "$cache/$release" "$cache/.$release.lock" "$cache/rustc"; do
				[ ! -e "$made" ] || chown -R --reference="$(dirname "$made")" "$made"
			done
		}
		trap give_back EXIT
		chroot "$stage" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
			RUST_VFIO_CACHE="$cache" BINDGEN=/usr/bin/bindgen \
			bash -c "cd \"\$0\" && exec \"\$@\"" "$top" "$@"
	' bash "$stage" "$top" "$cache" "$@"
}

make_stage() {
	say "making a Debian 13 in $stage, to build in: fetching some 450 MB"
	debian "$stage" apt gcc-14,libc6-dev,make,rustc,rustfmt,rust-src,bindgen,xz-utils,kmod,perl \
		"$top/tools/distro/stage-kernel.sh \"\$1\" $series amd64"
}

# One at a time makes or changes it.
mkdir -p "$cache"
exec 9>"$stage.lock"
flock --nonblock 9 || { say "waiting for $stage, which is being made or changed"; flock 9; }
[ -e "$stage/.complete" ] || make_stage
case ${1:-} in
path) echo "$stage" ;;
release) cat "$stage/.complete" ;;
update)
	inside apt-get -qq update
	newest=$(inside apt-cache pkgnames "linux-headers-$series." |
		sed -nE "s/^linux-headers-($series\.[0-9]+\+deb[0-9]+-amd64)$/\1/p" | sort -V | tail -n 1)
	# The same name may stand for a new build.
	# shellcheck disable=SC2016 # dpkg's
	have=$(inside dpkg-query -W -f='${Version}' "linux-headers-$(cat "$stage/.complete")")
	# If Debian has none any more, this one is as good as before.
	[ -n "$newest" ] || exit 0
	inside apt-cache madison "linux-headers-$newest" | awk '{ print $3 }' | grep -xF "$have" >/dev/null || make_stage
	;;
add)
	shift
	# shellcheck disable=SC2016 # dpkg's
	have=$(inside dpkg-query -W -f='${db:Status-Abbrev}${Package}\n')
	missing=()
	for package; do
		grep -qx "ii $package" <<<"$have" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || exit 0
	say "adding ${missing[*]} to $stage"
	inside sh -ec 'apt-get -qq update; apt-get -qq install -y "$@"' sh "${missing[@]}" >&2
	;;
run)
	shift
	exec 9>&-
	inside "$@"
	;;
*) die "usage: stage.sh path|release|update|add PACKAGE...|run COMMAND..." ;;
esac

#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the DKMS package in a Debian 13 that has the headers of its kernel, has a
# kernel of another release come, and removes it all again. Without a VM, in which the
# compilers would need an hour.
#
#   dkms-test.sh <directory of packages> <what rebuilt.sh made> <work directory>
#
# Prints one line for each check.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

usage="usage: dkms-test.sh <directory of packages> <what rebuilt.sh made> <work directory>"
debs=${1:?$usage} rebuilt=${2:?$usage} work=${3:?$usage}
stage=$("$top/tools/distro/stage.sh" path)
release=$("$top/tools/distro/stage.sh" release)

mkdir -p "$work"
# As a layer over the root file system, so that it stays as it is.
# shellcheck disable=SC2016 # variables of that shell
"${as_root[@]}" unshare --mount --propagation private bash -ec '
	stage=$1 work=$2 debs=$3 rebuilt=$4 release=$5 guest=$6
	rm -rf "$work"/{upper,layer,whole}
	mkdir -p "$work"/{upper,layer,whole}
	mount -t overlay overlay -o "lowerdir=$stage,upperdir=$work/upper,workdir=$work/layer" "$work/whole"
	for dir in dev proc sys; do
		mount --rbind "/$dir" "$work/whole/$dir"
	done
	mkdir -p "$work/whole/srv/debs"
	cp "$debs"/*.deb "$work/whole/srv/debs/"
	cp -r "$rebuilt/build" "$work/whole/srv/next"
	cp "$guest"/{dkms-guest,check}.sh "$work/whole/srv/"
	chroot "$work/whole" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
		/srv/dkms-guest.sh "$release" "$(cat "$rebuilt/release")"
' bash "$stage" "$work" "$debs" "$rebuilt" "$release" "$top/tools/distro"

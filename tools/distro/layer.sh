#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs a command in a root file system as a layer over it, so that it stays as it is.
# Without a VM, in which compilers would need an hour.
#
#   layer.sh <root file system> <work directory> <command...>
#
# The command finds in /srv what <work directory>/srv has.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

usage="usage: layer.sh <root file system> <work directory> <command...>"
root=${1:?$usage} work=${2:?$usage}
shift 2
# shellcheck disable=SC2016 # variables of that shell
exec "${as_root[@]}" unshare --mount --propagation private bash -ec '
	root=$1 work=$2
	shift 2
	rm -rf "$work"/{upper,layer,whole}
	mkdir -p "$work"/{upper,layer,whole}
	mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/layer" "$work/whole"
	for dir in dev proc sys; do
		mount --rbind "/$dir" "$work/whole/$dir"
	done
	cp -r "$work/srv/." "$work/whole/srv"
	exec chroot "$work/whole" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
' bash "$root" "$work" "$@"

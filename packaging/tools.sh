#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs rust-vfio-switch and vfioctl for a package, below its root directory.
#
#   tools.sh <root> <directory with vfioctl> <directory of zsh's completions>
#
# Beside vfioctl are the man pages and completions that `vfioctl generate` makes. The last
# directory, in which distributions differ, is relative to the root.
set -euo pipefail
packaging=$(dirname "${BASH_SOURCE[0]}")

usage="usage: tools.sh <root> <directory with vfioctl> <directory of zsh's completions>"
root=${1:?$usage} vfioctl=${2:?$usage} zsh=${3:?$usage}
# Where everybody finds them: their status is for everybody.
install -D -m 755 -t "$root/usr/bin" "$packaging/rust-vfio-switch" "$vfioctl/vfioctl"
install -D -m 644 -t "$root/usr/share/man/man8" "$packaging/man/rust-vfio-switch.8" "$vfioctl"/vfioctl*.8
install -D -m 644 -t "$root/usr/lib/udev/rules.d" "$packaging/vfioctl/05-vfioctl.rules"
install -D -m 644 -t "$root/usr/lib/systemd/system" "$packaging/vfioctl/vfioctl-restore.service"
install -D -m 644 "$vfioctl/vfioctl.bash" "$root/usr/share/bash-completion/completions/vfioctl"
install -D -m 644 -t "$root/$zsh" "$vfioctl/_vfioctl"
install -D -m 644 -t "$root/usr/share/fish/vendor_completions.d" "$vfioctl/vfioctl.fish"

# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # guest.sh calls it
#
# The program that drives VFIO by crates that others use for it. It is one of the VM's own
# programs, outside of this root file system.

step_crates() {
	echo "# client vfio-clients -"
	chroot /proc/1/root /bin/vfio-clients
	check "comes to its end" test $? = 0
}

# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # Whoever reads this file uses it.
#
# The kernel series that the modules replace VFIO's C modules of. This is the
# only place that says so: shell scripts source the line, the Makefile includes
# it, and include/uapi/check/build.rs reads it. So it must stay a line that is
# both an assignment of the shell and one of make. See docs/porting.md.

series=7.3

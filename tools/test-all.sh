#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Everything that is tested, what .ci/run has no time for included: each test
# with each combination of modules, all configurations, all IOMMUs, and the
# benchmark with its targets. Goes on after a failure, and ends with a table.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck source=tools/steps.sh
. tools/steps.sh

release() {
	step test make test LONG=1
	step test-c make test IMPL=c SCOPE=vm LONG=1
	step test-rust-core make test IMPL=rust-core SCOPE=vm
	step test-rust-type1 make test IMPL=rust-type1 SCOPE=vm
	step test-split make test SPLIT=1 SCOPE=rows
	step test-movable make test TESTS=F191 WORDS=movablecore=3G
	step test-debian make test KERNEL=debian SCOPE=rows
	step test-debian-c make test KERNEL=debian SCOPE=rows IMPL=c
	step demo make demo
	step distro-test make distro-test
	step clients make clients
	step intree-test make intree-test
	step iommu-matrix make iommu-matrix
	step bench make bench CHECK=1
}

debug() {
	step kernel-debug nice make kernel DEBUG=1 &&
		step test-debug make test DEBUG=1 SCOPE=vm
	step kernel-cfi nice make kernel CFI=1 &&
		step test-cfi make test CFI=1 SCOPE=vm
	step build-matrix nice make build-matrix
}

steps_begin build/test-all
step setup make setup &&
	step kernel make kernel &&
	step build make vm-ready &&
	lanes release debug &&
	step lock-order make lock-order
steps_end

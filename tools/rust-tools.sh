# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # vm/env.sh, sourced before this, says where the caches are
#
# Finds the Rust tools that a kernel was built with. Sourced.

# rustc_for TEXT: prints the path of the rustc whose `--version` is TEXT, to the
# letter, because metadata of crates loads only in the compiler that wrote it.
rustc_for() {
	local candidate
	for candidate in "${RUSTC:-}" /usr/bin/rustc "$(command -v rustc || true)" \
		{"$metadata_cache",/var/cache/rust-vfio}/rustc/*/bin/rustc; do
		if [ -x "$candidate" ] && [ "$("$candidate" --version)" = "$1" ]; then
			echo "$candidate"
			return
		fi
	done
	return 1
}

# obtain_rustc TEXT: prints the same, and fetches it from Debian if it is not there.
obtain_rustc() {
	rustc_for "$1" || { "$top/tools/fetch-rustc.sh" "$1" && rustc_for "$1"; }
}

# find_bindgen TEXT: prints the path of the bindgen whose `--version` is TEXT, or of
# any if that is empty.
find_bindgen() {
	local candidate
	for candidate in "${BINDGEN:-}" "$cache/tools/bin/bindgen" "$(command -v bindgen || true)" \
		/usr/bin/bindgen; do
		if [ -x "$candidate" ] && { [ -z "$1" ] || [ "$("$candidate" --version)" = "$1" ]; }; then
			echo "$candidate"
			return
		fi
	done
	return 1
}

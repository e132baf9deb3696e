# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # used where this is sourced
# shellcheck disable=SC2154 # vm/env.sh, sourced before this, says where the cache is
#
# Makes root file systems of Debian 13, from the mirror that this machine uses, and
# copies this project and its crates to where they find it. Sourced.

suite=trixie

as_root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || die "not root, and no sudo, to make a root file system"
	as_root=(sudo)
fi

# debian DIRECTORY VARIANT PACKAGES COMMAND: makes one with these packages. The
# command runs at the end, with the directory as $1.
debian() {
	local dir=$1 variant=$2 packages=$3 command=$4 uri
	# What is not unpacked. The kernel needs the library of the compiler's source.
	local excluded=(
		/usr/share/{doc,man,locale,info}/'*'
		/usr/src/'rustc-*/src'/{tools,doc,ci}/'*'
	)
	uri=$("$top/tools/mirror.sh")
	"${as_root[@]}" rm -rf --one-file-system "$dir.new"
	mkdir -p "$(dirname "$dir")"
	# shellcheck disable=SC2317 # heartbeat calls it
	progress() { printf '    %s\n' "$("${as_root[@]}" du -sxh "$dir.new" 2>/dev/null | cut -f1)"; }
	heartbeat progress
	# What it mounts in there is to be seen, and if it is killed to stay, nowhere else.
	"${as_root[@]}" unshare --mount mmdebstrap "--variant=$variant" \
		--aptopt='APT::Install-Recommends "false"' \
		"${excluded[@]/#/--dpkgopt=path-exclude=}" \
		"--include=$packages" "--customize-hook=$command" \
		"$suite" "$dir.new" - >&2 <<-END
		deb $uri $suite main
		deb $uri $suite-backports main
	END
	"${as_root[@]}" rm -rf --one-file-system "$dir"
	"${as_root[@]}" mv "$dir.new" "$dir"
}

# The version of this project.
version=$(sed -n '0,/^version = "\(.*\)"$/s//\1/p' "$top/Cargo.toml")

# copy_project DIRECTORY: copies what is in git, as it is now. All files get the time of the
# last change, so that packages do not depend on when it was checked out.
copy_project() {
	mkdir -p "$1"
	git -C "$top" ls-files -z |
		tar -C "$top" --null --files-from=- --mtime="@$(git -C "$top" log -1 --format=%ct)" -cf - |
		tar -C "$1" -xf -
}

# copy_crates DIRECTORY PLACE: copies the crates that Cargo.lock names, with a
# configuration that lets cargo take them from there once the directory is at PLACE.
copy_crates() {
	mkdir -p "$1"
	(cd "$top" && cargo vendor --quiet --locked --versioned-dirs "$1/crates" >/dev/null)
	cat >"$1/config.toml" <<-END
		[source.crates-io]
		replace-with = "vendored"
		[source.vendored]
		directory = "$2/crates"
	END
}

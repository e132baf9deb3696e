#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What others-test.sh runs in the other root file system.
#
# shellcheck disable=SC2317 # check calls the functions
set -u
version=$1
name=rust-vfio-$version
home=/home/somebody
# shellcheck source=tools/distro/check.sh
. /srv/check.sh

as_user() { # COMMAND: what it compiles is run once, so there is nothing to optimize for
	su somebody -c "export CARGO_HOME=/srv/cargo CARGO_PROFILE_RELEASE_OPT_LEVEL=0; cd && $1"
}

# The files in a package, one on each line, without those that describe the package.
listed() { sed -E 's,^\.?/,,; s/\.gz$//' | grep -vE '^\.|^usr/share/(doc|lintian|licenses)/|/$|^$' | sort; }
in_deb() { dpkg-deb --fsys-tarfile "/srv/rust-vfio-$1"_*.deb | tar -t | listed; }
in_arch() { bsdtar -tf "$home/rust-vfio-$1"-*.pkg.tar.* | listed; }
in_rpm() {
	rpm --query --package "$home"/rpmbuild/RPMS/*/"rust-vfio-$1"-*.rpm \
		--queryformat '[%{FILEMODES:perms} %{FILENAMES}\n]' | sed -n 's/^-[^ ]* //p' | listed
}
# They are those of Debian's package, which has the completions of zsh elsewhere.
has_same() { # FORMAT PACKAGE
	local expected actual
	expected=$(in_deb "$2" | sed "s,/zsh/vendor-completions/,/zsh/site-functions/," | sort)
	actual=$("in_$1" "$2")
	[ -n "$expected" ] && diff <(echo "$expected") <(echo "$actual")
}
runs() { # DIRECTORY: vfioctl runs from there
	"$1/usr/bin/vfioctl" --version
}
unpack_arch() { mkdir /tmp/arch && bsdtar -C /tmp/arch -xf "$home"/rust-vfio-tools-*.pkg.tar.*; }
unpack_rpm() { mkdir /tmp/rpm && rpm2archive -n - <"$(echo "$home"/rpmbuild/RPMS/*/rust-vfio-tools-*.rpm)" | tar -C /tmp/rpm -xf -; }

apt-get -qq update
check "the tools of other distributions are installed" apt-get -qq install -y --no-install-recommends \
	passwd cargo gcc libc6-dev fakeroot file libarchive-tools makepkg pacman-package-manager rpm rpm2cpio rpmlint
useradd --create-home --shell /bin/bash somebody
mkdir -p $home/rpmbuild/SOURCES
tar -C /srv -czf "$home/$name.tar.gz" "$name"
cp "$home/$name.tar.gz" $home/rpmbuild/SOURCES/
cp "/srv/$name/packaging/arch/PKGBUILD" "/srv/$name/packaging/rpm/rust-vfio.spec" $home/
# What Fedora defines and Debian does not.
cat >$home/.rpmmacros <<-'END'
	%_unitdir /usr/lib/systemd/system
	%_udevrulesdir /usr/lib/udev/rules.d
	%systemd_post :
	%systemd_preun :
END
chown -R somebody: $home

check "Arch Linux: makepkg" as_user "makepkg --nodeps"
check "Arch Linux: the package for DKMS has the files of Debian's" has_same arch dkms
check "Arch Linux: and so has the one of the tools" has_same arch tools
check "Arch Linux: it is unpacked" unpack_arch
check "Arch Linux: vfioctl runs" runs /tmp/arch
check "Fedora: rpmlint" as_user "rpmlint rust-vfio.spec"
check "Fedora: rpmbuild" as_user "rpmbuild -bb --nodeps rust-vfio.spec"
check "Fedora: the package for DKMS has the files of Debian's" has_same rpm dkms
check "Fedora: and so has the one of the tools" has_same rpm tools
check "Fedora: it is unpacked" unpack_rpm
check "Fedora: vfioctl runs" runs /tmp/rpm
exit $((failed > 0))

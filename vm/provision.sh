#!/bin/sh
# Makes a Debian or Ubuntu machine the class VM:  provision.sh COURSE.tgz  (as root)
#
# COURSE.tgz holds a manifest and what `vm/files` lists. Any VM manager can run this, as often as it likes: what is
# there already is left alone, and what a learner changed is kept. Settings, all optional:
#   LABKIT_USER   who runs JupyterLab (vagrant)
#   LABKIT_TOKEN  the token of its address; without it, the first start makes a random one
#   LABKIT_HUB    1: a JupyterHub for a class in its place (docs/hub.md); LABKIT_HUB_… are its settings
set -eu

course=$1
user=${LABKIT_USER:-vagrant}
home=$(getent passwd "$user" | cut -d: -f6)
[ -n "$home" ] || { echo "provision: there is no user $user here. Name one: LABKIT_USER=…" >&2; exit 1; }
folder=$home/mydocker
units=/etc/systemd/system
ready=$units/labkit.service.ready
service=labkit
if [ "${LABKIT_HUB:-}" = 1 ] || [ -e $units/labkit-hub.service ]; then service=labkit-hub; fi
systemd=$(command -v systemctl || true)  # a container's image has none
as_user() { runuser -u "$user" -- env HOME="$home" USER="$user" "$@"; }

packages() {
  # Not for a newer course in an older box: the room may have no network, and `labkit doctor` names them.
  peers="podman:podman runc:runc crun:crun"
  [ ! -e $units/labkit.service ] || peers=
  missing=$(for pair in make:make ps:procps ip:iproute2 unshare:util-linux mount:mount \
                        hostname:hostname python3:python3 $peers; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done)
  python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3 python3-venv"
  [ -n "$missing" ] || return 0
  echo "Installing" $missing
  apt-get -qq update
  # shellcheck disable=SC2086  # one word a package
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing
}

deliver() {
  echo "Placing the course in $folder"
  unpacked=$(mktemp -d)
  tar -xzf "$course" -C "$unpacked" vm/guest
  install -m 755 "$unpacked"/vm/guest/labkit-* /usr/local/bin/
  [ -z "$systemd" ] || sed -e "s|@USER@|$user|; s|@FOLDER@|$folder|" \
    "$unpacked/vm/guest/labkit.service" > $units/labkit.service
  rm -r "$unpacked"
  # cpuset, too, for whoever asks systemd for a group of his own: systemd-run --user --scope -p Delegate=yes
  install -d /etc/systemd/system/user@.service.d
  printf '[Service]\nDelegate=cpu cpuset io memory pids\n' > /etc/systemd/system/user@.service.d/labkit.conf
  chmod a+r "$course"
  # Who works as root may give that power up (notebook 09 does), and must still get to the course.
  chmod a+x "$home"
  as_user labkit-course deliver "$course" "$folder"
  # With nbval: a class VM may lie where no network is, and must show what it promises there, too.
  as_user make --no-print-directory -C "$folder" setup test-tools PYTHON=/usr/bin/python3
  # The learner's copies, and what there is to say about them, where `vagrant` shows it.
  as_user "$folder/.venv/bin/python" -c \
    'from labkit.course import copies; [print(line) for line in copies.prepare()]'
}

# The manifest is what the course's own folder keeps of the last delivery, written when it is whole.
if ! tar -xOzf "$course" .delivered | cmp -s - "$folder/.delivered" || [ ! -e "$ready" ]; then
  rm -f "$ready"
  packages
  deliver
  if [ -n "$systemd" ]; then
    [ $service != labkit ] || systemctl --quiet enable labkit
    touch "$ready"
  fi
  again=yes
fi
if [ -n "${LABKIT_TOKEN:-}" ] && [ "$LABKIT_TOKEN" != "$(cat "$home/.labkit-token" 2>/dev/null)" ]; then
  (umask 077 && printf %s "$LABKIT_TOKEN" > "$home/.labkit-token")
  chown "$user:" "$home/.labkit-token"
  again=yes
fi
if [ "${LABKIT_HUB:-}" = 1 ]; then
  case $(systemd-detect-virt)${LABKIT_HUB_IP:-} in
    oracle | vmware | parallels)
      echo "provision: here a port leads to the VM's outer address, where a hub needs TLS. Set" \
        "LABKIT_HUB_IP=0.0.0.0, LABKIT_HUB_CERT and LABKIT_HUB_KEY, or take libvirt." >&2
      exit 1 ;;
  esac
  set -- make --no-print-directory -C "$folder" HUB=.venv PYTHON=/usr/bin/python3
  as_user "$@" hub-tools
  # By content, since a delivery renews all times, and what is in the box need not be fetched.
  cmp -s "$folder/hub/package-lock.json" "$folder/.venv/package-lock.json" || as_user "$@" .venv/proxy-ready
  install -d -m 700 /var/lib/labkit-hub
  touch /var/lib/labkit-hub/learners.txt
  env | sed -n '/^LABKIT_HUB_/p' > /etc/labkit-hub
  sed "s|@FOLDER@|$folder|" "$folder/vm/guest/labkit-hub.service" > $units/labkit-hub.service
  systemctl --quiet disable --now labkit
  systemctl --quiet enable labkit-hub
  again=yes
fi
if [ -d /run/systemd/system ]; then  # not while a box is being built
  [ -z "${again:-}" ] || { systemctl daemon-reload; systemctl restart $service; }
  systemctl start $service
fi

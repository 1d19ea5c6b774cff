#!/bin/sh
# Called by mmdebstrap in the finished tree $1: what Vagrant expects of a box, then the course $2.
set -eu
root=$1 course=$2
here=$(dirname "$0")
in_box() { chroot "$root" env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }

# Vagrant logs in with its well-known key and puts one of its own in its place on the first `up`.
in_box useradd --create-home --shell /bin/bash vagrant
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$here/vagrant.pub" "$root/home/vagrant/.ssh/authorized_keys"
in_box chown -R vagrant: /home/vagrant/.ssh
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/vagrant"
chmod 440 "$root/etc/sudoers.d/vagrant"
# All come from one address, the host's: the attempts while the VM boots must not be held against them.
printf '%s\n' "UseDNS no" "PasswordAuthentication no" "PerSourcePenalties no" "LoginGraceTime 15m" \
  "MaxStartups 100" > "$root/etc/ssh/sshd_config.d/vagrant.conf"

cat > "$root/etc/systemd/network/80-dhcp.network" <<'N'
[Match]
Name=e*
[Network]
DHCP=yes
IPv6AcceptRA=no
[DHCPv4]
ClientIdentifier=mac
N
in_box systemctl --quiet enable systemd-networkd systemd-resolved ssh
in_box systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer \
  apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer ldconfig.service \
  systemd-journal-catalog-update.service systemd-binfmt.service
# A unit that is slow because the machine is does start; systemd gives up after 90 seconds.
install -d "$root/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultTimeoutStartSec=15min\nDefaultDeviceTimeoutSec=15min\n' \
  > "$root/etc/systemd/system.conf.d/slow.conf"
echo mydocker > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 mydocker\n::1 localhost\n' > "$root/etc/hosts"
rm -f "$root/etc/fstab" # the kernel's command line says it all
# The box has no host keys: each machine makes its own at its first start. Those of RSA take longest.
rm -f "$root"/etc/ssh/ssh_host_*
install -d "$root/etc/systemd/system/ssh.service.d"
cat > "$root/etc/systemd/system/ssh.service.d/keys.conf" <<'N'
[Service]
ExecStartPre=
ExecStartPre=sh -c 'for type in ed25519 ecdsa; do file=/etc/ssh/ssh_host_$${type}_key; \
  [ -s $$file ] || ssh-keygen -q -t $$type -N "" -f $$file; done'
ExecStartPre=/usr/sbin/sshd -t
N

"$here/install.sh" "$root" "$course" vagrant
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

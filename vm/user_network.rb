# libvirt with QEMU's user-mode network: no bridge, no DHCP server, no firewall rule, no root for them.
# The VM's ssh is port LABKIT_SSH_PORT of 127.0.0.1. LABKIT_OFFLINE=1 cuts the VM's way out.
require "vagrant-libvirt/driver"

# The address at which vagrant-libvirt looks for the VM; it has no lease to read it from.
class VagrantPlugins::ProviderLibvirt::Driver
  def get_ipaddress(_domain = nil)
    "127.0.0.1"
  end
end

Vagrant.configure("2") do |config|
  port = Integer(ENV["LABKIT_SSH_PORT"])
  config.ssh.host = "127.0.0.1"
  config.ssh.port = port
  config.vm.provider :libvirt do |libvirt|
    libvirt.uri = "qemu:///system"
    libvirt.machine_type = RbConfig::CONFIG["host_cpu"] == "x86_64" ? "q35" : "virt"
    libvirt.mgmt_attach = false
    libvirt.qemu_use_agent = true # what goes with mgmt_attach = false, else it refuses
    restrict = ENV["LABKIT_OFFLINE"].to_s.empty? ? "" : ",restrict=on"
    libvirt.qemuargs value: "-netdev"
    libvirt.qemuargs value: "user,id=outer,hostfwd=tcp:127.0.0.1:#{port}-:22#{restrict}"
    libvirt.qemuargs value: "-device"
    libvirt.qemuargs value: "virtio-net-pci,netdev=outer,bus=pcie.0,addr=0x10"
  end
end

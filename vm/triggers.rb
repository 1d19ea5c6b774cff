# What happens around a VM's start and end: a free port before, the address after, the learner's work out.
require "digest"
require "fileutils"
require "json"
require "net/http"
require "socket"
require "zlib"

# Part of ClassVM, which keeps what is remembered between two calls of Vagrant.
module Triggers
  # Before a start: move the port where another program has it, and say what will be slow.
  def find_port(machine)
    forget("saved") # from now on there may be new work, whether the start succeeds or not
    return if machine.state.id == :running

    warn_of_driver(machine.ui) if machine.provider_name == :libvirt
    move_port(machine)
  end

  # Copy the learner's folder to saved/TIME; nothing where that is saved already.
  def save_work(machine)
    unless machine.state.id == :running
      refuse("the VM is off and was not asked for it") if destroying? && machine.id && !recall("saved")
      return
    end
    files, lost = fetch(machine)
    digest = Digest::SHA256.hexdigest(files.sort.flatten.map(&:b).join("\0"))
    unless files.empty? || recall("saved") == digest
      target = File.join(@folder, "saved", Time.now.strftime("%Y-%m-%dT%H-%M-%S"))
      unwritten = files.filter_map { |name, content| write(target, name, content) }
      number = files.size - unwritten.size
      machine.ui.info("Saved #{number} file#{'s' unless number == 1} in #{target}")
      lost += unwritten
    end
    raise lost.join("; ") unless lost.empty?

    remember("saved", digest)
  rescue StandardError => e
    refuse(e.message)
    machine.ui.warn("Not all of the learner's work was saved: #{e.message}. It stays in the VM.")
  end

  # The last line: where JupyterLab answers.
  def print_address(machine)
    return unless machine.state.id == :running

    @up = true
    # An interrupted `up` leaves a VM that still boots, and the next one does not wait for it.
    machine.communicate.wait_for_ready(machine.config.vm.boot_timeout) or
      abort "The VM runs, but does not answer to ssh. Cure: vagrant reload"
    forget("saved") # it runs on after a `provision`, which saved it
    address = ask_address(machine)
    patience = machine.config.vm.boot_timeout / 60.0
    unless leads?(address, patience)
      address = forward_again(machine) && ask_address(machine)
      address && leads?(address, 12 * patience) or abort "Port #{port} does not lead to the VM. Cure: vagrant reload"
    end
    $stdout.puts address
  end

  # After `destroy`: the next VM is a new one.
  def forget_port(machine)
    forget("port") unless machine.id
  end

  private

  def warn_of_driver(says)
    if driver == "kvm"
      at_exit { says.warn("If the VM did not boot: is KVM broken here? Try LABKIT_DRIVER=qemu vagrant up") unless @up }
    else
      says.warn("Without hardware virtualisation the VM is five to ten times slower: #{why_emulated}.")
    end
  end

  def why_emulated
    if self["LABKIT_DRIVER"] == "qemu" then "LABKIT_DRIVER asks for it"
    elsif File.exist?("/dev/kvm") then "you may not write to /dev/kvm. Cure: sudo usermod -aG kvm $USER, then log in again"
    else "there is no /dev/kvm. Cure: switch virtualisation on in this machine's firmware"
    end
  end

  def move_port(machine)
    wanted = port
    free = (wanted..65_535).find { |number| free?(number) } or abort "There is no free port from #{wanted} on."
    machine.ui.warn("Port #{wanted} is taken: #{free} it is.") if free != wanted
    remember("port", "#{self['LABKIT_PORT']} #{free}")
    machine.config.vm.networks.each { |_, options| options[:host] = free if options[:id] == "jupyter" }
  end

  def free?(number)
    TCPServer.new("127.0.0.1", number).close
    true
  rescue SystemCallError
    false
  end

  # The address that labkit-url tells once JupyterLab answers in the VM.
  def ask_address(machine)
    status, address, trouble = ask(machine, "labkit-url #{port} #{machine.config.vm.boot_timeout}")
    abort trouble unless status.zero?
    machine.ui.warn(trouble) unless trouble.empty?
    address
  end

  # Run a command in the VM: its status, what it printed, and what it said on stderr.
  def ask(machine, command)
    said = { stdout: +"", stderr: +"" }
    status = machine.communicate.execute(command, error_check: false) { |type, data| said[type] << data }
    [status, *said.values.map { |text| text.force_encoding("UTF-8").strip }]
  end

  # Whether that address leads to this VM within so many seconds. Another JupyterLab there refuses its token.
  def leads?(address, seconds)
    deadline = now + seconds
    sleep 0.3 until (there = answers?(address)) || now > deadline
    there
  end

  def answers?(address)
    address = URI(address)
    web = Net::HTTP.new(address.host, address.port, nil) # nil: no proxy
    web.open_timeout = web.read_timeout = 30
    web.get(address.query ? "/api/status?#{address.query}" : "/hub/health").is_a?(Net::HTTPOK)
  rescue StandardError
    false
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # libvirt's forwarding is an ssh that may have ended, and `up` of a running VM does not start another.
  def forward_again(machine)
    return if machine.provider_name != :libvirt

    action = VagrantPlugins::ProviderLibvirt::Action
    env = { machine: machine, ui: machine.ui }
    action::ClearForwardedPorts.new(->(_) {}, env).call(env)
    move_port(machine)
    action::ForwardPorts.new(->(_) {}, env).call(env)
    true
  end

  # name => content of what lies in the learner's folder, and a sentence for each thing that could not be read
  def fetch(machine)
    # As root, because a learner may have made files as root.
    command = "set -o pipefail; sudo labkit-course work ~/mydocker /home/learner-* | gzip | base64"
    status, packed, trouble = ask(machine, command)
    raise "`#{command}` in the VM ended with #{status}: #{trouble}" unless status.zero?

    told = JSON.parse(Zlib.gunzip(packed.unpack1("m")))
    [told["files"].transform_values { |content| content.unpack1("m") }, told["lost"]]
  end

  # Write one file; return why that was not possible here, else nil.
  def write(target, name, content)
    path = File.expand_path(name, target)
    return "#{name} lies outside" unless path.start_with?(target + "/")
    return "#{name} differs from another only in its case" if File.exist?(path)

    FileUtils.mkdir_p(File.dirname(path))
    File.binwrite(path, content)
    nil
  rescue SystemCallError => e
    e.message
  end

  def refuse(reason)
    return unless destroying?

    abort "The learner's work could not be saved first: #{reason}. Nothing is destroyed.\n" \
          "Where the VM is off: vagrant up; vagrant destroy. Without its work: LABKIT_DISCARD=1 vagrant destroy"
  end

  def destroying?
    ARGV.include?("destroy") && ENV["LABKIT_DISCARD"].to_s.empty?
  end
end

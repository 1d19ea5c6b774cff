# What the Vagrantfile does besides settings: which box, which port, the course in, the work out.
require "digest"
require "fileutils"
require "rubygems/package"
require "socket"
require "stringio"
require "zlib"

class ClassVM
  # Made by running, not part of the course.
  DERIVED = %r{(^|/)(__pycache__|\.ipynb_checkpoints)/|^notebooks/work/}

  # folder: the course's; settings: name => default, an Integer where only a number will do.
  def initialize(folder, settings)
    @folder = folder
    @state = File.join(folder, ".vagrant")
    @settings = settings.to_h do |name, default|
      value = ENV[name].to_s.empty? ? default : ENV[name]
      number = default.is_a?(Integer)
      abort "Vagrantfile: #{name} is a number, not #{value.inspect}." if number && value.to_s !~ /\A\d+\z/
      [name, number ? value.to_i : value]
    end
    return if self["LABKIT_PORT"].between?(1024, 65_535)

    abort "Vagrantfile: LABKIT_PORT is a number from 1024 to 65535, not #{self['LABKIT_PORT']}."
  end

  def [](name)
    @settings.fetch(name)
  end

  # The box of LABKIT_BOX, of build/, of a release, or a public one.
  def choose_box(vm, provider, release, public_box)
    built = File.join(@folder, "build", "mydocker-#{provider}.box")
    named = self["LABKIT_BOX"]
    if !named.empty?
      vm.box = named
      file = File.expand_path(named, @folder)
      take(vm, file, Digest::SHA256.hexdigest([file, File.stat(file).size, File.mtime(file).to_i].join(" "))) if File.file?(file)
      take(vm, named, Digest::SHA256.hexdigest(named)) if named.include?("://")
    elsif File.file?(built)
      checksum = checksums[File.basename(built)]
      abort "Vagrantfile: build/SHA256SUMS does not name #{built}. Cure: make box" unless checksum
      take(vm, built, checksum)
      vm.box_download_checksum = checksum
      vm.box_download_checksum_type = "sha256"
    elsif !release.empty?
      vm.box = "mydocker/class"
      vm.box_url = release
    else
      vm.box = public_box
    end
  end

  # Whether the box was made by `make box`, as far as the settings tell.
  def own_box?
    self["LABKIT_BOX"].empty? && !checksums.empty?
  end

  # The host's port: the one that this VM had before, else the setting.
  def port
    (recall("port") || self["LABKIT_PORT"]).to_i
  end

  # The course as a .tgz for provision.sh: its manifest first, then the files that vm/files names.
  def course
    @course ||= begin
      names = File.readlines(File.join(@folder, "vm", "files"), chomp: true).flat_map do |name|
        Dir.glob([name, "#{name}/**/*"], base: @folder)
      end
      names = names.select { |name| name !~ DERIVED && File.file?(File.join(@folder, name)) }.sort
      files = names.to_h { |name| [name, File.binread(File.join(@folder, name))] }
      manifest = files.map { |name, content| "#{Digest::SHA256.hexdigest(content)}  #{name}\n" }.join
      tar = StringIO.new("".b)
      Gem::Package::TarWriter.new(tar) do |archive|
        { ".delivered" => manifest }.merge(files).each do |name, content|
          archive.add_file_simple(name, 0o644, content.bytesize) { |file| file.write(content) }
        end
      end
      remember("course.tgz", Zlib.gzip(tar.string))
    end
  end

  # Before a start: move the port where another program has it.
  def find_port(machine)
    return if machine.state.id == :running

    wanted = port
    free = (wanted..65_535).find { |number| free?(number) } or abort "There is no free port from #{wanted} on."
    machine.ui.warn("Port #{wanted} is taken: #{free} it is.") if free != wanted
    remember("port", free)
    machine.config.vm.networks.each { |_, options| options[:host] = free if options[:id] == "jupyter" }
  end

  # Copy what the learner changed to saved/TIME; nothing where that is saved already.
  def save_work(machine)
    unless machine.state.id == :running
      refuse("the VM is off and was not asked for it") if destroying? && machine.id && !recall("saved")
      return
    end
    files, lost = fetch(machine)
    digest = Digest::SHA256.hexdigest(files.sort.flatten.map(&:b).join("\0"))
    unless files.empty? || recall("saved") == digest
      target = File.join(@folder, "saved", Time.now.strftime("%Y-%m-%dT%H-%M-%S"))
      lost += files.filter_map { |name, content| write(target, name, content) }
      machine.ui.info("Saved #{files.size} changed file#{'s' if files.size > 1} in #{target}")
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

    # An interrupted `up` leaves a VM that still boots, and the next one does not wait for it.
    machine.communicate.wait_for_ready(machine.config.vm.boot_timeout) or
      abort "The VM runs, but does not answer to ssh. Cure: vagrant reload"
    said = +""
    status = machine.communicate.execute("labkit-url #{port}", error_check: false) { |_, data| said << data }
    abort said unless status.zero?
    # While it runs, there may be new work.
    forget("saved") unless destroying?
    $stdout.puts said
  end

  private

  def take(vm, address, digest)
    vm.box = "mydocker-#{digest[0, 12]}"
    vm.box_url = address
  end

  def checksums
    sums = File.join(@folder, "build", "SHA256SUMS")
    File.file?(sums) ? File.readlines(sums).to_h { |line| line.split.reverse } : {}
  end

  # name => content of what the learner changed, and a sentence for each thing that could not be read
  def fetch(machine)
    said = { stdout: +"", stderr: +"" }
    # As root, because a learner may have made files as root.
    command = "set -o pipefail; sudo labkit-course work ~/mydocker | base64"
    status = machine.communicate.execute(command, error_check: false) { |type, data| said[type] << data }
    lost = said[:stderr].force_encoding("UTF-8").lines(chomp: true)
    raise "`#{command}` in the VM ended with #{status}: #{lost.join('; ')}" unless [0, 3].include?(status)

    tar = StringIO.new(Zlib.gunzip(said[:stdout].unpack1("m")))
    long = nil # a name of more than 100 bytes comes as an entry of its own, before its file
    files = {}
    Gem::Package::TarReader.new(tar).each do |entry|
      long = entry.read.chomp("\0") if entry.header.typeflag == "L"
      next unless entry.file?

      files[(long || entry.full_name).dup.force_encoding("UTF-8")] = entry.read.to_s
      long = nil
    end
    [files, status.zero? ? [] : lost]
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

  def free?(number)
    TCPServer.new("127.0.0.1", number).close
    true
  rescue SystemCallError
    false
  end

  def recall(name)
    path = File.join(@state, "labkit-#{name}")
    File.read(path) if File.file?(path)
  end

  def remember(name, content)
    FileUtils.mkdir_p(@state)
    path = File.join(@state, "labkit-#{name}")
    File.binwrite(path, content)
    path
  end

  def forget(name)
    FileUtils.rm_f(File.join(@state, "labkit-#{name}"))
  end
end

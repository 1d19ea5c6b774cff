# What the Vagrantfile asks while it is read: which settings, which box, which port, which course.
require "digest"
require "fileutils"
require "rubygems/package"
require "stringio"
require "zlib"
require_relative "triggers"

class ClassVM
  include Triggers

  # Made by running, not part of the course.
  DERIVED = %r{(^|/)(__pycache__|\.ipynb_checkpoints)/}
  # What a release has boxes for.
  RELEASED = %i[libvirt virtualbox].freeze

  BOX_NAME = %r{\A\w[\w.-]*(/[\w.-]+)?(?<!\.box|\.json)\z}

  # folder: the course's; settings: name => default, an Integer where only a number will do.
  def initialize(folder, settings)
    @folder = folder
    @state = File.join(folder, ".vagrant")
    @settings = settings.to_h { |name, default| [name, ENV[name].to_s.empty? ? default : ENV[name]] }
    settings.select { |_, default| default.is_a?(Integer) }.each_key do |name|
      check(name, "a number") { |value| value.to_s.match?(/\A\d+\z/) }
      @settings[name] = self[name].to_i
    end
    check("LABKIT_PORT", "a number from 1024 to 65535") { |port| port.between?(1024, 65_535) }
    check("LABKIT_TOKEN", "letters, digits, - and _") { |token| token.match?(/\A[\w-]*\z/) }
    check("LABKIT_HUB", "1 or nothing") { |hub| ["", "1"].include?(hub) }
    check("LABKIT_DRIVER", "kvm or qemu") { |driver| ["", "kvm", "qemu"].include?(driver) }
    check("LABKIT_BOX", "a file that is there, an address, or a name such as debian/trixie64") do |box|
      box.empty? || file_or_address(box) || box.match?(BOX_NAME)
    end
  end

  def [](name)
    @settings.fetch(name)
  end

  # The box of LABKIT_BOX, of build/, of a release, or a public one.
  def choose_box(vm, provider, release, public_box)
    built = built_box(provider)
    named = self["LABKIT_BOX"]
    if !named.empty?
      address = file_or_address(named)
      if address.nil? then vm.box = named
      elsif address.end_with?(".json") then take_release(vm, address)
      else take(vm, address)
      end
    elsif File.file?(built)
      take(vm, built, checksum(built))
    elsif !release.empty? && RELEASED.include?(provider)
      take_release(vm, release)
    else
      vm.box = public_box
    end
  end

  # Whether the box was made by `make box`, as far as the settings tell.
  def own_box?
    self["LABKIT_BOX"].empty? && !Dir.glob("build/mydocker-*.box", base: @folder).empty?
  end

  # The host's port: the one that this VM had before, else the setting; also when LABKIT_PORT has changed since.
  def port
    asked, had = recall("port").to_s.split.map(&:to_i)
    had && (ENV["LABKIT_PORT"].to_s.empty? || asked == self["LABKIT_PORT"]) ? had : self["LABKIT_PORT"]
  end

  # libvirt's: hardware virtualisation where this user may have it.
  def driver
    return self["LABKIT_DRIVER"] unless self["LABKIT_DRIVER"].empty?

    File.writable?("/dev/kvm") ? "kvm" : "qemu"
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

  private

  # Here, and not where a setting is used: there Vagrant takes it for an error in the Vagrantfile.
  def check(name, what)
    yield(self[name]) or abort "Vagrantfile: #{name} is #{what}, not #{self[name].inspect}."
  end

  def file_or_address(box)
    file = File.expand_path(box, @folder)
    return file if File.file?(file)

    box if box.include?("://")
  end

  # A metadata.json, which names boxes and their checksums; Vagrant compares the name.
  def take_release(vm, address)
    vm.box = "mydocker/class"
    vm.box_url = address
  end

  # A box from a file or an address. Vagrant knows it by a name of which it must be the only one.
  def take(vm, address, checksum = nil)
    file = File.stat(address) if File.file?(address)
    identity = checksum || Digest::SHA256.hexdigest([address, file&.size, file&.mtime.to_i].join(" "))
    vm.box = "mydocker-#{identity[0, 12]}"
    vm.box_url = address
    return unless checksum

    vm.box_download_checksum = checksum
    vm.box_download_checksum_type = "sha256"
  end

  def built_box(provider)
    File.join(@folder, "build", "mydocker-#{provider}.box")
  end

  # What `make box` says that a box's checksum is, or nil.
  def checksum(box)
    sums = File.join(@folder, "build", "SHA256SUMS")
    line = File.file?(sums) && File.readlines(sums).find { |sum| sum.split.last == File.basename(box) }
    line && line.split.first
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

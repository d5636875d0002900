// filesystem: size and use of every mounted filesystem, seen from process 1 where that is allowed.
//
// A mount that does not answer in time gets node_filesystem_device_error 1 and no further statfs
// until it does (statfs_pool.hpp); the others are not affected. What a kernel answers from its
// memory alone is asked here, for to wake a helper costs ten times as much as such an answer.
#include "monitor/collectors/filesystem.hpp"

#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/mountinfo.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"mount_points_include", OptionType::kRegex, "''",
                     "Mount points that are taken; all when empty. Given, it replaces the default "
                     "of mount_points_exclude."},
    OptionDescriptor{"mount_points_exclude", OptionType::kRegex,
                     "'^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/"
                     "storage/.+)($|/)'",
                     "Mount points that are left out."},
    OptionDescriptor{"fs_types_include", OptionType::kRegex, "''",
                     "Filesystem types that are taken; all when empty. Given, it replaces the "
                     "default of fs_types_exclude."},
    OptionDescriptor{
        "fs_types_exclude", OptionType::kRegex,
        "'^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|erofs|fusectl|"
        "hugetlbfs|iso9660|"
        "mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|"
        "squashfs|sysfs|tracefs)$'",
        "Filesystem types that are left out."},
    OptionDescriptor{
        "mount_timeout", OptionType::kDuration, "'1s'",
        "How long a run waits for the answers of all mounts. Below the deadline of the collector."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_filesystem_device_error", MetricType::kGauge,
                     "Whether an error occurred while getting statistics for the given device."},
    MetricDescriptor{"node_filesystem_size_bytes", MetricType::kGauge, "Filesystem size in bytes."},
    MetricDescriptor{"node_filesystem_free_bytes", MetricType::kGauge,
                     "Filesystem free space in bytes."},
    MetricDescriptor{"node_filesystem_avail_bytes", MetricType::kGauge,
                     "Filesystem space available to non-root users in bytes."},
    MetricDescriptor{"node_filesystem_files", MetricType::kGauge, "Filesystem total file nodes."},
    MetricDescriptor{"node_filesystem_files_free", MetricType::kGauge,
                     "Filesystem total free file nodes."},
    MetricDescriptor{"node_filesystem_readonly", MetricType::kGauge,
                     "Filesystem read-only status."},
    MetricDescriptor{"node_filesystem_mount_info", MetricType::kGauge,
                     "Filesystem mount information, value is always 1."},
};

// Mounts that hang at the same time and still leave a helper for the healthy ones.
constexpr std::size_t kMaxHelpers = 16;
constexpr Millis kRenewal{60'000};  // of the list of mounts, whether the kernel tells of a change
// Their statfs(2) adds up counters in memory: it waits for no disk, however dead that is. Not so
// that of XFS, which waits for inodes to be given back on Linux 5.14 to 5.18.
constexpr std::array<std::string_view, 5> kInMemory = {"ext2", "ext3", "ext4", "tmpfs", "ramfs"};

bool answers_from_memory(const Mount& mount) {
  return !mount.project_quota && std::ranges::find(kInMemory, mount.fstype) != kInMemory.end();
}

/// Mount points as a process sees them: where the last mount on each stands in its list, and
/// whether that answers from memory.
struct View {
  void add(const Mount& mount) {
    last[mount.mountpoint] = {.line = lines++, .sure = answers_from_memory(mount)};
  }

  /// Whether statfs(2) of `path` waits for nobody. It is a mount point, whose name the kernel
  /// keeps, and so are those that it leads through, unless another one was mounted over them later.
  [[nodiscard]] bool is_sure(std::string_view path) const {
    const auto own = last.find(std::string(path));
    if (own == last.end()) return false;
    while (true) {
      const auto found = last.find(std::string(path));
      if (found != last.end() && (!found->second.sure || found->second.line > own->second.line))
        return false;
      if (path.size() <= 1) return true;
      path = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    }
  }

  struct Last {
    std::size_t line = 0;
    bool sure = false;
  };
  std::unordered_map<std::string, Last> last;
  std::size_t lines = 0;
};

/// node_exporter's words. An errno that the C library has no words for is its number: a FUSE server
/// may answer with any.
std::string_view describe(const StatfsAnswer& answer, std::array<char, 24>& scratch) {
  if (answer.kind == StatfsAnswer::Kind::kPending) return "mountpoint timeout";
  if (const char* words = ::strerrordesc_np(answer.error)) return words;
  const auto end = fmt::format_to_n(scratch.data(), scratch.size(), "errno {}", answer.error).out;
  return {scratch.data(), static_cast<std::size_t>(end - scratch.data())};
}

class FilesystemCollector final : public Collector {
 public:
  FilesystemCollector(const CollectorContext& context, NameFilter points, NameFilter types,
                      StatfsFunction statfs)
      : clock_(context.clock),
        roots_(context.roots),
        points_(std::move(points)),
        types_(std::move(types)),
        timeout_(option_duration(context, kFilesystemCollector, "mount_timeout")),
        families_(families_of(context.registry, kMetrics)),
        statfs_(statfs),
        pool_(context.clock, std::move(statfs), kMaxHelpers),
        // The mounts of the host rather than those of the agent's unit, where they may be read.
        first_(roots_.proc("1/mountinfo")),
        self_(roots_.proc("self/mountinfo")),
        first_space_(roots_.proc("1/ns/mnt")),
        own_space_(roots_.proc("self/ns/mnt")) {}

  Status collect(Sink& sink) override {
    if (Status read = read_mounts(); !read) return read;
    if (!paths_.empty()) pool_.probe(paths_, clock_.steady() + timeout_, answers_);
    auto answer = answers_.begin();
    for (const Known& known : mounts_)
      add(sink, known.mount, known.at_once ? ask(known) : *answer++);
    return complaint_;
  }

 private:
  struct Known {
    Mount mount;
    std::string path;
    bool at_once = false;  // asked on the collector's own thread
  };

  [[nodiscard]] StatfsAnswer ask(const Known& known) const {
    StatfsAnswer answer;
    answer.error = statfs_(known.path, answer.usage);
    answer.kind = answer.error == 0 ? StatfsAnswer::Kind::kOk : StatfsAnswer::Kind::kFailed;
    return answer;
  }

  Status read_mounts() {
    const SteadyTime now = clock_.steady();
    if (file_.is_open() && now - read_ < kRenewal && !has_changed(file_.fd())) return {};
    // Opened anew, so that process 1's is found as soon as it may be read.
    host::KeptFile file;
    const std::string* path = &first_;
    auto text = file.read(first_, bytes_);
    if (!text) {
      path = &self_;
      text = file.read(self_, bytes_);
    }
    if (!text) return propagate(std::move(text));
    file_ = std::move(file);
    read_ = now;
    bool is_new = *text != text_;
    if (is_new) text_ = *text;
    // A unit's name space may have its own, read-only view of everything (ProtectSystem=strict).
    std::string_view own = text_;
    if (path == &first_ && !is_first_name_space()) {
      if (const auto mine = host::KeptFile().read(self_, bytes_)) own = *mine;
    }
    sees_as_they_are_ = own == text_;
    if (own != own_) {
      own_ = own;
      is_new = true;
    }
    if (is_new) parse(*path);
    return {};
  }

  [[nodiscard]] bool is_first_name_space() const {
    struct stat first{};
    struct stat own{};
    return ::stat(first_space_.c_str(), &first) == 0 && ::stat(own_space_.c_str(), &own) == 0 &&
           first.st_ino == own.st_ino && first.st_dev == own.st_dev;
  }

  /// proc(5): mountinfo tells of changes since it was last asked.
  static bool has_changed(int fd) noexcept {
    pollfd asked{.fd = fd, .events = POLLPRI, .revents = 0};
    return ::poll(&asked, 1, 0) != 0;
  }

  void parse(const std::string& path) {
    mounts_.clear();
    paths_.clear();
    std::set<std::tuple<std::string, std::string, std::string>> seen;
    std::map<std::string, bool> wanted_types;  // few, of many mounts
    View view;
    Complaints complaints;
    Lines lines(text_);
    for (std::string_view line; lines.next(line);) {
      std::optional<Mount> mount = parse_mountinfo_line(line);
      if (!mount) {
        complaints.add(path, lines.number(), "a line of mountinfo", line);
        continue;
      }
      if (sees_as_they_are_) view.add(*mount);
      const auto [type, is_new] = wanted_types.try_emplace(mount->fstype);
      if (is_new) type->second = types_.accepts(mount->fstype);
      if (!type->second) continue;
      strip_root(mount->mountpoint);
      if (!points_.accepts(mount->mountpoint)) continue;
      if (!seen.emplace(mount->device, mount->mountpoint, mount->fstype).second) continue;
      std::string place = roots_.root(mount->mountpoint);
      mounts_.push_back({std::move(*mount), std::move(place), false});
    }
    choose_helped(std::move(view));
    complaint_ = complaints.take();
  }

  /// Which mounts helpers ask: where statfs, or a look-up on the way, may wait for somebody. Both
  /// are done in this process's own view of the mounts; `view` is for when that is process 1's.
  void choose_helped(View view) {
    Lines lines(sees_as_they_are_ ? std::string_view() : own_);
    for (std::string_view line; lines.next(line);) {
      if (const std::optional<Mount> mount = parse_mountinfo_line(line)) view.add(*mount);
    }
    for (Known& known : mounts_) {
      // Below another root there are mounts of which that list does not tell.
      known.at_once = roots_.rootfs == "/" && view.is_sure(known.mount.mountpoint);
      if (!known.at_once) paths_.push_back(known.path);
    }
  }

  /// In a container that sees the host below rootfs, the host's mount points carry that prefix.
  void strip_root(std::string& mountpoint) const {
    if (roots_.rootfs == "/" || !mountpoint.starts_with(roots_.rootfs)) return;
    const std::string_view rest = std::string_view(mountpoint).substr(roots_.rootfs.size());
    if (rest.empty()) {
      mountpoint = "/";
    } else if (rest.front() == '/') {
      mountpoint = std::string(rest);
    }
  }

  void add(Sink& sink, const Mount& mount, const StatfsAnswer& answer) const {
    const std::array<LabelView, 3> labels = {
        {{"device", mount.device}, {"fstype", mount.fstype}, {"mountpoint", mount.mountpoint}}};
    const bool is_ok = answer.kind == StatfsAnswer::Kind::kOk;
    if (is_ok) {
      sink.add(families_[0], labels, 0);
    } else {
      std::array<char, 24> scratch;
      sink.add(families_[0],
               {labels[0], labels[1], labels[2], {"device_error", describe(answer, scratch)}}, 1);
    }
    sink.add(families_[7],
             {{"device", mount.device},
              {"major", mount.major},
              {"minor", mount.minor},
              {"mountpoint", mount.mountpoint}},
             1);
    if (!is_ok) return;
    const bool is_readonly = mount.readonly || (sees_as_they_are_ && answer.usage.readonly);
    const std::array values = {answer.usage.size,       answer.usage.free,
                               answer.usage.available,  answer.usage.files,
                               answer.usage.files_free, is_readonly ? 1.0 : 0.0};
    for (std::size_t i = 0; i < values.size(); ++i) sink.add(families_[i + 1], labels, values[i]);
  }

  Clock& clock_;
  const host::Roots roots_;
  const NameFilter points_;
  const NameFilter types_;
  const Millis timeout_;
  const std::array<FamilyId, kMetrics.size()> families_;
  const StatfsFunction statfs_;
  StatfsPool pool_;
  const std::string first_;
  const std::string self_;
  const std::string first_space_;
  const std::string own_space_;
  host::KeptFile file_;
  std::vector<char> bytes_;
  SteadyTime read_{};
  // That mounts_, paths_ and complaint_ were made from:
  std::string text_;              // of process 1, where it may be read
  std::string own_;               // of this process
  bool sees_as_they_are_ = true;  // statfs here says what it says to process 1
  std::vector<Known> mounts_;
  std::vector<std::string> paths_;  // of those that helpers ask
  std::vector<StatfsAnswer> answers_;
  Status complaint_;
};

/// As device_filter(): an include that is given replaces the default exclude, both are an error.
Result<NameFilter> filter_of(const CollectorContext& context, std::string_view what) {
  const std::string include_name = fmt::format("{}_include", what);
  const std::string exclude_name = fmt::format("{}_exclude", what);
  const std::string include = option_string(context, kFilesystemCollector, include_name);
  if (include.empty())
    return NameFilter::make({}, option_string(context, kFilesystemCollector, exclude_name));
  if (context.options.contains(exclude_name))
    return fail(Errc::kInvalidArgument, "{} and {}: expected only one of the two", include_name,
                exclude_name);
  return NameFilter::make(include, {});
}

}  // namespace

Result<std::unique_ptr<Collector>> make_filesystem(const CollectorContext& context,
                                                   StatfsFunction statfs) {
  auto points = filter_of(context, "mount_points");
  if (!points) return propagate(std::move(points));
  auto types = filter_of(context, "fs_types");
  if (!types) return propagate(std::move(types));
  return std::make_unique<FilesystemCollector>(context, std::move(*points), std::move(*types),
                                               std::move(statfs));
}

const CollectorDescriptor kFilesystemCollector = {
    .name = "filesystem",
    .help = "Size, use and errors of every mounted filesystem.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) { return make_filesystem(context, system_statfs); },
};

}  // namespace nexus::monitor

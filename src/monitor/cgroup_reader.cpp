#include "monitor/cgroup_reader.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "monitor/directory.hpp"
#include "monitor/workload.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kBufferBytes = 64U
                                     << 10;  // memory.stat has 2 to 4 KiB, io.stat a line a disk
constexpr double kUnlimited =
    4.0e18;  // version 1 writes the largest number of pages instead of "max"
constexpr double kMicros = 1e6;
constexpr double kNanos = 1e9;

using Figure = CgroupStats::Figure;

constexpr std::string_view kV2 = "v2";
constexpr std::uint64_t kFindAgain = 16;  // passes: what is mounted changes when a host boots

/// Controllers of version 1, and the names of their directories.
struct Controller {
  std::string_view kind;
  std::array<std::string_view, 3> directories;
};
constexpr std::array kControllers = {
    Controller{"cpu", {"cpu,cpuacct", "cpu", "cpuacct,cpu"}},
    Controller{"cpuacct", {"cpu,cpuacct", "cpuacct", "cpuacct,cpu"}},
    Controller{"memory", {"memory", "", ""}},
    Controller{"blkio", {"blkio", "", ""}},
    Controller{"pids", {"pids", "", ""}},
};

bool is_directory(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::optional<double> number_of(std::string_view text) {
  const auto value = base::parse_uint(text);
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

}  // namespace

CgroupReader::CgroupReader(const host::Roots& roots, std::size_t max_groups)
    : root_(roots.sys("fs/cgroup")), max_groups_(max_groups), bytes_(kBufferBytes) {}

void CgroupReader::find_hierarchies() {
  hierarchies_.clear();
  if (::access((root_ + "/cgroup.controllers").c_str(), F_OK) == 0) {
    hierarchies_.push_back({root_, kV2});
    return;
  }
  for (const Controller& controller : kControllers) {
    for (const std::string_view name : controller.directories) {
      const std::string path = root_ + "/" + std::string(name);
      if (name.empty() || !is_directory(path)) continue;
      hierarchies_.push_back({path, controller.kind});
      break;
    }
  }
  const std::string unified = root_ + "/unified";
  if (::access((unified + "/cgroup.controllers").c_str(), F_OK) == 0)
    hierarchies_.push_back({unified, kV2});
}

Status CgroupReader::run(const std::function<bool(const std::string&)>& accepts,
                         Complaints& complaints) {
  complaints_ = &complaints;
  if (std::exchange(is_lost_, false) || pass_ % kFindAgain == 0) find_hierarchies();
  if (hierarchies_.empty()) {
    is_lost_ = true;
    return fail(Errc::kNotFound, "{}: no control groups are mounted there", root_);
  }
  ++pass_;
  left_out_ = 0;
  for (const Hierarchy& hierarchy : hierarchies_) walk(hierarchy, accepts);
  const auto is_old = [this](const CgroupStats& stats) { return stats.pass != pass_; };
  if (std::ranges::any_of(groups_, is_old)) {
    std::erase_if(groups_, is_old);
    index_.clear();
    for (std::size_t i = 0; i < groups_.size(); ++i) index_.emplace(groups_[i].path, i);
  }
  return {};
}

void CgroupReader::walk(const Hierarchy& hierarchy,
                        const std::function<bool(const std::string&)>& accepts) {
  hierarchy_ = &hierarchy;
  place_count_ = 0;
  const host::Fd root(::open(hierarchy.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    complaints_->add(Error::from_errno("open " + hierarchy.path));
    is_lost_ = true;
    return;
  }
  struct statfs kind{};
  is_real_ = ::fstatfs(root.get(), &kind) == 0 &&
             (kind.f_type == CGROUP_SUPER_MAGIC || kind.f_type == CGROUP2_SUPER_MAGIC);
  Place& top = next_place();
  top.path = "/";
  top.depth = 0;
  // A list that grows at its end while it is walked: breadth first.
  const std::size_t most = std::max<std::size_t>(4 * max_groups_, 64);
  for (std::size_t i = 0; i < place_count_; ++i) {
    relative_.assign(".").append(places_[i].path);
    const host::Fd directory(
        ::openat(root.get(), relative_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) continue;  // it was removed
    if (accepts(places_[i].path)) {
      if (CgroupStats* stats = group_at(places_[i].path)) read(hierarchy, directory.get(), *stats);
    }
    if (places_[i].depth < kMaxDepth && may_have_children(directory.get()))
      list_children(directory.get(), i, most);
  }
}

/// The kernel counts the directories in one by its links: two and one for each.
bool CgroupReader::may_have_children(int directory) const {
  struct stat status{};
  return !is_real_ || ::fstat(directory, &status) != 0 || status.st_nlink != 2;
}

CgroupReader::Place& CgroupReader::next_place() {
  if (place_count_ == places_.size()) places_.emplace_back();
  return places_[place_count_++];
}

void CgroupReader::list_children(int directory, std::size_t parent, std::size_t most) {
  name_count_ = 0;
  const Status read = for_each_entry(directory, [this](const char* name, unsigned char type) {
    if (name[0] == '.' || (type != DT_DIR && type != DT_UNKNOWN)) return;
    if (name_count_ == names_.size()) names_.emplace_back();
    names_[name_count_++] = name;
  });
  if (!read) return;  // it was removed
  const std::span names(names_.data(), name_count_);
  std::ranges::sort(names);
  for (const std::string& name : names) {
    if (place_count_ >= most) {
      ++left_out_;
      continue;
    }
    Place& child = next_place();
    const Place& above = places_[parent];  // which may have moved
    child.path.assign(above.path == "/" ? "" : above.path).append("/").append(name);
    child.depth = above.depth + 1;
  }
}

CgroupStats* CgroupReader::group_at(const std::string& path) {
  const auto found = index_.find(path);
  CgroupStats* stats = nullptr;
  if (found != index_.end()) {
    stats = &groups_[found->second];
  } else {
    if (groups_.size() >= max_groups_) {
      ++left_out_;
      return nullptr;
    }
    index_.emplace(path, groups_.size());
    stats = &groups_.emplace_back();
    stats->path = path;
    stats->workload = workload_of(path);
  }
  if (std::exchange(stats->pass, pass_) != pass_) {
    stats->figures.fill(std::numeric_limits<double>::quiet_NaN());
    stats->devices.clear();
    stats->pid = 0;
  }
  return stats;
}

void CgroupReader::read(const Hierarchy& hierarchy, int directory, CgroupStats& stats) {
  current_ = &stats.path;
  struct stat status{};
  // The times of a recorded tree are those of its copy.
  if (is_real_ && stats.path != "/" && ::fstat(directory, &status) == 0)
    stats.set(CgroupStats::kCreated, static_cast<double>(status.st_mtim.tv_sec));
  if (stats.pid == 0 && !stats.workload.container.empty()) read_process(directory, stats);
  if (hierarchy.kind == kV2) {
    read_v2(directory, stats);
  } else if (hierarchy.kind == "cpu") {
    read_cpu_v1(directory, stats);
  } else if (hierarchy.kind == "cpuacct") {
    read_cpuacct(directory, stats);
  } else if (hierarchy.kind == "memory") {
    read_memory_v1(directory, stats);
  } else if (hierarchy.kind == "blkio") {
    read_blkio(directory, stats, "blkio.throttle.io_service_bytes", true);
    read_blkio(directory, stats, "blkio.throttle.io_serviced", false);
  } else {
    read_pids(directory, stats);
  }
}

void CgroupReader::read_process(int directory, CgroupStats& stats) {
  std::string_view text = read_text(directory, "cgroup.procs");
  const auto pid = base::parse_uint(base::take_until(text, '\n'));
  if (pid && *pid <= INT32_MAX) stats.pid = static_cast<std::int32_t>(*pid);
}

void CgroupReader::read_v2(int directory, CgroupStats& stats) {
  read_cpu_stat(directory, stats, true);
  std::string_view text = read_text(directory, "cpu.max");  // "max 100000", "50000 100000"
  if (!text.empty()) {
    const std::string_view quota = next_word(text);
    const std::string_view period = next_word(text = base::trim(text));
    if (quota != "max") {
      if (const auto value = number_of(quota)) stats.set(CgroupStats::kCpuQuota, *value);
    }
    if (const auto value = number_of(base::trim(period)))
      stats.set(CgroupStats::kCpuPeriod, *value);
  }
  read_number(directory, "memory.current", stats, CgroupStats::kMemoryUsage);
  read_number(directory, "memory.peak", stats, CgroupStats::kMemoryMax);
  read_number(directory, "memory.max", stats, CgroupStats::kMemoryLimit);
  read_number(directory, "memory.low", stats, CgroupStats::kMemoryReserved);
  read_number(directory, "memory.swap.current", stats, CgroupStats::kSwap);
  read_number(directory, "memory.swap.max", stats, CgroupStats::kSwapLimit);
  constexpr std::array kMemory = {Key{"anon", CgroupStats::kRss},
                                  Key{"file", CgroupStats::kCache},
                                  Key{"kernel", CgroupStats::kKernel},
                                  Key{"file_mapped", CgroupStats::kMapped},
                                  Key{"file_dirty", CgroupStats::kFileDirty},
                                  Key{"file_writeback", CgroupStats::kFileWriteback},
                                  Key{"inactive_file", CgroupStats::kInactiveFile},
                                  Key{"active_file", CgroupStats::kActiveFile},
                                  Key{"pgscan", CgroupStats::kPagesScanned},
                                  Key{"pgsteal", CgroupStats::kPagesReclaimed},
                                  Key{"workingset_refault_file", CgroupStats::kRefaultsFile},
                                  Key{"workingset_refault_anon", CgroupStats::kRefaultsAnon},
                                  Key{"pgfault", CgroupStats::kMinorFaults},
                                  Key{"pgmajfault", CgroupStats::kMajorFaults}};
  read_keys(directory, "memory.stat", stats, kMemory);
  constexpr std::array kEvents = {Key{"high", CgroupStats::kHighEvents},
                                  Key{"max", CgroupStats::kMaxEvents},
                                  Key{"oom_kill", CgroupStats::kOomKills}};
  read_keys(directory, "memory.events", stats, kEvents);
  if (stats.has(CgroupStats::kMaxEvents))
    stats.set(CgroupStats::kMemoryFailures, stats.figures[CgroupStats::kMaxEvents]);
  read_io_stat(directory, stats);
  read_pids(directory, stats);
  read_pressure(directory, stats, "cpu.pressure", CgroupStats::kCpuWaiting,
                CgroupStats::kCpuStalled);
  read_pressure(directory, stats, "memory.pressure", CgroupStats::kMemoryWaiting,
                CgroupStats::kMemoryStalled);
  read_pressure(directory, stats, "io.pressure", CgroupStats::kIoWaiting, CgroupStats::kIoStalled);
}

void CgroupReader::read_cpu_stat(int directory, CgroupStats& stats, bool v2) {
  constexpr std::array kSecond = {Key{"usage_usec", CgroupStats::kCpuUsage, kMicros},
                                  Key{"user_usec", CgroupStats::kCpuUser, kMicros},
                                  Key{"system_usec", CgroupStats::kCpuSystem, kMicros},
                                  Key{"nr_periods", CgroupStats::kPeriods},
                                  Key{"nr_throttled", CgroupStats::kThrottledPeriods},
                                  Key{"throttled_usec", CgroupStats::kThrottledSeconds, kMicros}};
  constexpr std::array kFirst = {Key{"nr_periods", CgroupStats::kPeriods},
                                 Key{"nr_throttled", CgroupStats::kThrottledPeriods},
                                 Key{"throttled_time", CgroupStats::kThrottledSeconds, kNanos}};
  if (v2) {
    // In a hybrid layout version 1 has counted already, and in more detail.
    const bool counted = stats.has(CgroupStats::kPeriods) && stats.has(CgroupStats::kCpuUsage);
    if (!counted) read_keys(directory, "cpu.stat", stats, kSecond);
  } else {
    read_keys(directory, "cpu.stat", stats, kFirst);
  }
}

void CgroupReader::read_cpu_v1(int directory, CgroupStats& stats) {
  read_cpu_stat(directory, stats, false);
  const std::string_view quota = base::trim(read_text(directory, "cpu.cfs_quota_us"));
  if (quota != "-1") {  // no limit
    if (const auto value = number_of(quota)) stats.set(CgroupStats::kCpuQuota, *value);
  }
  read_number(directory, "cpu.cfs_period_us", stats, CgroupStats::kCpuPeriod);
  read_number(directory, "cpu.shares", stats, CgroupStats::kCpuShares);
}

void CgroupReader::read_cpuacct(int directory, CgroupStats& stats) {
  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  read_number(directory, "cpuacct.usage", stats, CgroupStats::kCpuUsage);
  if (stats.has(CgroupStats::kCpuUsage))
    stats.set(CgroupStats::kCpuUsage, stats.figures[CgroupStats::kCpuUsage] / kNanos);
  const std::array keys = {Key{"user", CgroupStats::kCpuUser, ticks},
                           Key{"system", CgroupStats::kCpuSystem, ticks}};
  read_keys(directory, "cpuacct.stat", stats, keys);
}

void CgroupReader::read_memory_v1(int directory, CgroupStats& stats) {
  read_number(directory, "memory.usage_in_bytes", stats, CgroupStats::kMemoryUsage);
  read_number(directory, "memory.max_usage_in_bytes", stats, CgroupStats::kMemoryMax);
  read_number(directory, "memory.limit_in_bytes", stats, CgroupStats::kMemoryLimit);
  read_number(directory, "memory.soft_limit_in_bytes", stats, CgroupStats::kMemoryReserved);
  read_number(directory, "memory.memsw.limit_in_bytes", stats, CgroupStats::kSwapLimit);
  read_number(directory, "memory.failcnt", stats, CgroupStats::kMemoryFailures);
  constexpr std::array kMemory = {Key{"total_rss", CgroupStats::kRss},
                                  Key{"total_cache", CgroupStats::kCache},
                                  Key{"total_mapped_file", CgroupStats::kMapped},
                                  Key{"total_swap", CgroupStats::kSwap},
                                  Key{"total_inactive_file", CgroupStats::kInactiveFile},
                                  Key{"total_active_file", CgroupStats::kActiveFile},
                                  Key{"total_pgfault", CgroupStats::kMinorFaults},
                                  Key{"total_pgmajfault", CgroupStats::kMajorFaults}};
  read_keys(directory, "memory.stat", stats, kMemory);
  constexpr std::array kOom = {Key{"oom_kill", CgroupStats::kOomKills}};
  read_keys(directory, "memory.oom_control", stats, kOom);
}

void CgroupReader::read_pids(int directory, CgroupStats& stats) {
  read_number(directory, "pids.current", stats, CgroupStats::kThreads);
  read_number(directory, "pids.max", stats, CgroupStats::kThreadsMax);
}

void CgroupReader::read_pressure(int directory, CgroupStats& stats, const char* file,
                                 Figure waiting, Figure stalled) {
  std::string_view text = read_text(directory, file);
  while (!text.empty()) {
    std::string_view line = base::take_until(text, '\n');
    const std::string_view kind = next_word(line);
    const std::size_t at = line.find("total=");
    if (at == std::string_view::npos) continue;
    const auto micros = number_of(base::trim(line.substr(at + 6)));
    if (!micros) continue;
    if (kind == "some") stats.set(waiting, *micros / kMicros);
    if (kind == "full") stats.set(stalled, *micros / kMicros);
  }
}

CgroupStats::Device* CgroupReader::device_of(CgroupStats& stats, std::string_view number) {
  std::string_view rest = number;
  const auto major = base::parse_uint(base::take_until(rest, ':'));
  const auto minor = base::parse_uint(rest);
  if (!major || !minor || *major > 0xfff || *minor > 0xfffff) return nullptr;
  for (CgroupStats::Device& device : stats.devices) {
    if (device.major == *major && device.minor == *minor) return &device;
  }
  if (stats.devices.size() >= CgroupStats::kMaxDevices) return nullptr;
  CgroupStats::Device& device = stats.devices.emplace_back();
  device.major = static_cast<std::uint32_t>(*major);
  device.minor = static_cast<std::uint32_t>(*minor);
  return &device;
}

void CgroupReader::read_io_stat(int directory, CgroupStats& stats) {
  std::string_view text = read_text(directory, "io.stat");  // 8:0 rbytes=1 wbytes=2 rios=3 ...
  while (!text.empty()) {
    std::string_view line = base::take_until(text, '\n');
    const std::string_view number = next_word(line);
    if (base::trim(line).empty()) continue;  // a disk that was not used
    CgroupStats::Device* const device = device_of(stats, number);
    if (device == nullptr) continue;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
      const std::string_view key = base::take_until(word, '=');
      const auto value = number_of(word);
      if (!value) continue;
      if (key == "rbytes") device->read_bytes = *value;
      if (key == "wbytes") device->write_bytes = *value;
      if (key == "rios") device->reads = *value;
      if (key == "wios") device->writes = *value;
    }
  }
}

void CgroupReader::read_blkio(int directory, CgroupStats& stats, const char* file, bool bytes) {
  std::string_view text = read_text(directory, file);  // 8:0 Read 4096
  while (!text.empty()) {
    std::string_view line = base::take_until(text, '\n');
    const std::string_view number = next_word(line);
    const std::string_view operation = next_word(line);
    const auto value = number_of(next_word(line));
    if (!value || (operation != "Read" && operation != "Write")) continue;
    CgroupStats::Device* const device = device_of(stats, number);
    if (device == nullptr) continue;
    if (operation == "Read") (bytes ? device->read_bytes : device->reads) = *value;
    if (operation == "Write") (bytes ? device->write_bytes : device->writes) = *value;
  }
}

std::string_view CgroupReader::read_text(int directory, const char* file) {
  const host::Fd fd(::openat(directory, file, O_RDONLY | O_CLOEXEC));
  const ssize_t size = fd ? ::read(fd.get(), bytes_.data(), bytes_.size()) : -1;
  // Not every group has every file, and a group may be gone.
  return size > 0 ? std::string_view(bytes_.data(), static_cast<std::size_t>(size))
                  : std::string_view{};
}

void CgroupReader::read_number(int directory, const char* file, CgroupStats& stats, Figure figure,
                               double unlimited) {
  const std::string_view text = base::trim(read_text(directory, file));
  if (text.empty()) return;
  if (text == "max") return stats.set(figure, unlimited);
  const auto value = number_of(text);
  if (!value) {
    return complaints_->add(fmt::format("{}{}/{}", hierarchy_->path, *current_, file), 1,
                            "a number", text);
  }
  stats.set(figure, *value >= kUnlimited ? unlimited : *value);
}

void CgroupReader::read_keys(int directory, const char* file, CgroupStats& stats,
                             std::span<const Key> keys) {
  Lines lines(read_text(directory, file));
  for (std::string_view line; lines.next(line);) {
    std::string_view rest = line;
    const std::string_view name = next_word(rest);
    const auto key = std::ranges::find(keys, name, &Key::name);
    if (key == keys.end()) continue;
    const auto value = number_of(base::trim(rest));
    if (value) {
      stats.set(key->figure, *value / key->scale);
    } else {
      complaints_->add(fmt::format("{}{}/{}", hierarchy_->path, *current_, file), lines.number(),
                       "KEY NUMBER", line);
    }
  }
}

}  // namespace nexus::monitor

// CgroupReader: walks the control groups of a host, version 1, version 2 or both (hybrid), and
// reads what they count (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/).
//
// The hierarchies are found below sysfs/fs/cgroup, where systemd, Docker and all distributions
// mount them: cgroup.controllers there is version 2; else one directory a controller, and `unified`
// or `systemd` beside them. Groups of the same path in several hierarchies are one. The walk is
// breadth first, so that of too many groups the outer ones are taken; it never follows links.
//
// A figure that a kernel or hierarchy does not give is absent. A group that is removed in the
// middle is left out. Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "monitor/parse.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/monitor/observed.hpp"

namespace nexus::monitor {

struct CgroupStats {
  enum Figure : std::size_t {
    kCpuUsage,  // seconds
    kCpuUser,
    kCpuSystem,
    kPeriods,
    kThrottledPeriods,
    kThrottledSeconds,
    kCpuQuota,   // microseconds a period
    kCpuPeriod,  // microseconds
    kCpuShares,
    kMemoryUsage,  // bytes
    kMemoryMax,    // the most that it ever used
    kMemoryLimit,  // 0: none
    kMemoryReserved,
    kMemoryFailures,
    kSwapLimit,  // 0: none
    kRss,
    kCache,
    kMapped,
    kSwap,
    kInactiveFile,
    kActiveFile,
    kKernel,
    kFileDirty,
    kFileWriteback,
    kPagesScanned,
    kPagesReclaimed,
    kRefaultsFile,
    kRefaultsAnon,
    kHighEvents,
    kMaxEvents,
    kMinorFaults,
    kMajorFaults,
    kOomKills,
    kThreads,
    kThreadsMax,  // 0: no limit
    kCpuWaiting,  // seconds of pressure
    kCpuStalled,
    kMemoryWaiting,
    kMemoryStalled,
    kIoWaiting,
    kIoStalled,
    kCreated,  // seconds since the epoch
    kFigures,
  };
  struct Device {
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    double read_bytes = 0;
    double write_bytes = 0;
    double reads = 0;
    double writes = 0;
  };
  static constexpr std::size_t kMaxDevices = 8;  // the first ones

  std::string path;  // "/" for the root
  Workload workload;
  std::uint64_t pass = 0;  // that saw it last
  std::int32_t pid = 0;    // of a container: one of its processes, when there is one in this group
  std::array<double, kFigures> figures{};
  std::vector<Device> devices;

  [[nodiscard]] bool has(Figure figure) const noexcept { return !std::isnan(figures[figure]); }
  void set(Figure figure, double value) noexcept { figures[figure] = value; }
};

class CgroupReader {
 public:
  static constexpr int kMaxDepth = 12;

  CgroupReader(const host::Roots& roots, std::size_t max_groups);

  /// One walk over those whose path `accepts`; a group that is not accepted may have children that
  /// are. kNotFound: no hierarchy is mounted.
  [[nodiscard]] Status run(const std::function<bool(const std::string& path)>& accepts,
                           Complaints& complaints);

  /// Of the last walk, in an order that stays.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const CgroupStats& stats : groups_) visit(stats);
  }
  /// Groups of the last walk that were over the limit.
  [[nodiscard]] std::uint64_t left_out() const noexcept { return left_out_; }

 private:
  struct Hierarchy {
    std::string path;
    std::string_view kind;  // v2, or the controller of version 1
  };
  struct Place {
    std::string path;
    int depth = 0;
  };

  void find_hierarchies();
  /// In places_, at its end.
  [[nodiscard]] Place& next_place();
  void walk(const Hierarchy& hierarchy, const std::function<bool(const std::string&)>& accepts);
  /// `parent`: its place in places_.
  void list_children(int directory, std::size_t parent, std::size_t most);
  [[nodiscard]] bool may_have_children(int directory) const;
  [[nodiscard]] CgroupStats* group_at(const std::string& path);
  void read(const Hierarchy& hierarchy, int directory, CgroupStats& stats);
  void read_process(int directory, CgroupStats& stats);
  void read_v2(int directory, CgroupStats& stats);
  void read_cpu_stat(int directory, CgroupStats& stats, bool v2);
  void read_cpu_v1(int directory, CgroupStats& stats);
  void read_cpuacct(int directory, CgroupStats& stats);
  void read_memory_v1(int directory, CgroupStats& stats);
  void read_blkio(int directory, CgroupStats& stats, const char* file, bool bytes);
  void read_io_stat(int directory, CgroupStats& stats);
  void read_pids(int directory, CgroupStats& stats);
  void read_pressure(int directory, CgroupStats& stats, const char* file,
                     CgroupStats::Figure waiting, CgroupStats::Figure stalled);
  [[nodiscard]] CgroupStats::Device* device_of(CgroupStats& stats, std::string_view number);
  [[nodiscard]] std::string_view read_text(int directory, const char* file);
  /// One number of a file; `unlimited` is what "max" stands for.
  void read_number(int directory, const char* file, CgroupStats& stats, CgroupStats::Figure figure,
                   double unlimited = 0);
  /// `keys`: of lines KEY NUMBER. `scale`: what the number is divided by.
  struct Key {
    std::string_view name;
    CgroupStats::Figure figure;
    double scale = 1;
  };
  void read_keys(int directory, const char* file, CgroupStats& stats, std::span<const Key> keys);

  const std::string root_;
  const std::size_t max_groups_;
  std::vector<Hierarchy> hierarchies_;
  std::vector<CgroupStats> groups_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<Place> places_;  // of one walk, the first place_count_; strings are used again
  std::size_t place_count_ = 0;
  std::vector<std::string> names_;
  std::size_t name_count_ = 0;
  std::string relative_;
  std::vector<char> bytes_;
  bool is_lost_ = true;  // a hierarchy is not where it was: they are looked for again
  std::uint64_t pass_ = 0;
  std::uint64_t left_out_ = 0;
  Complaints* complaints_ = nullptr;
  const std::string* current_ = nullptr;  // hierarchy and group that are read, for complaints
  const Hierarchy* hierarchy_ = nullptr;
  bool is_real_ = false;  // the hierarchy, and not a recorded tree
};

}  // namespace nexus::monitor

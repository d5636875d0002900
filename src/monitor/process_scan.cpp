#include "monitor/process_scan.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "monitor/directory.hpp"
#include "monitor/workload.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kBufferBytes = 16U << 10;  // status of a process with many groups, a cmdline
constexpr std::uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD of the kernel's sched.h
constexpr std::uint64_t kMaxThreads = 1ULL << 22;    // of the kernel (PID_MAX_LIMIT)
constexpr std::uint32_t kCountsRetry = 60;           // passes until taskstats is tried again
constexpr std::size_t kMaxWorkloads = 16'384;
constexpr std::size_t kListedFiles = 65'536;  // of one process, where they must be counted
// Numbers of /proc/PID/stat after the state, counted from 1.
enum Field : std::size_t {
  kParent = 1,
  kFlags = 6,
  kMinorFaults = 7,
  kMajorFaults = 9,
  kUser = 11,
  kSystem = 12,
  kThreads = 17,
  kStart = 19,
  kVirtual = 20,
  kResident = 21,
  kFields = 22,
};

bool is_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::uint64_t difference(std::uint64_t before, std::uint64_t after) {
  return after > before ? after - before : 0;
}

/// The number behind `key` ("VmSwap:") at the start of a line.
std::optional<std::uint64_t> field(std::string_view text, std::string_view key) {
  std::size_t at = text.starts_with(key) ? 0 : std::string_view::npos;
  for (std::size_t from = 0; at == std::string_view::npos;) {
    from = text.find(key, from);
    if (from == std::string_view::npos) return std::nullopt;
    if (text[from - 1] == '\n') at = from;
    ++from;
  }
  std::string_view rest = text.substr(at + key.size());
  rest = rest.substr(0, rest.find('\n'));
  return base::parse_uint(next_word(rest));
}

}  // namespace

Usage& Usage::operator+=(const Usage& other) noexcept {
  user += other.user;
  system += other.system;
  minor_faults += other.minor_faults;
  major_faults += other.major_faults;
  read_bytes += other.read_bytes;
  write_bytes += other.write_bytes;
  voluntary += other.voluntary;
  nonvoluntary += other.nonvoluntary;
  return *this;
}

Usage used(const Usage& before, const Usage& after) noexcept {
  return {difference(before.user, after.user),
          difference(before.system, after.system),
          difference(before.minor_faults, after.minor_faults),
          difference(before.major_faults, after.major_faults),
          difference(before.read_bytes, after.read_bytes),
          difference(before.write_bytes, after.write_bytes),
          difference(before.voluntary, after.voluntary),
          difference(before.nonvoluntary, after.nonvoluntary)};
}

ProcessScan::ProcessScan(const CollectorContext& context, Options options)
    : procfs_(context.roots.procfs),
      options_(options),
      clock_(context.clock),
      page_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))),
      ticks_(static_cast<double>(::sysconf(_SC_CLK_TCK))),
      bytes_(kBufferBytes) {}

double ProcessScan::started(const ProcessRecord& process) const noexcept {
  return boot_ + static_cast<double>(process.start) / ticks_;
}

Status ProcessScan::run(ProcessVisitor& visitor, Complaints& complaints) {
  complaints_ = &complaints;
  if (Status listed = list(); !listed) return listed;
  if (pass_ % kRefresh == 0) read_boot_time();
  merge();
  if (is_live_) ask_counts();
  for (ProcessRecord& process : records_) {
    if (is_due(process)) {
      look_at(process, visitor);
    } else if (process.has_count || process.spared) {
      process.cpu = process.io = 0;  // it did not run
    }
    process.has_count = process.spared = false;
  }
  std::erase_if(records_, [](const ProcessRecord& process) { return process.gone; });
  if (workloads_.size() > kMaxWorkloads || pass_ % kRefresh == 0)
    std::erase_if(workloads_, [](const auto& entry) { return entry.second.expired(); });
  ++pass_;
  return {};
}

Status ProcessScan::list() {
  auto directory = Directory::open_at(AT_FDCWD, procfs_.c_str());
  if (!directory) return propagate(std::move(directory), "{}", procfs_);
  if (!proc_) {
    proc_ = host::Fd(::openat(directory->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!proc_) return std::unexpected(Error::from_errno("open " + procfs_));
    struct statfs kind{};
    is_live_ = ::fstatfs(proc_.get(), &kind) == 0 && kind.f_type == PROC_SUPER_MAGIC;
    struct stat files{};
    files_have_size_ =
        is_live_ && ::fstatat(proc_.get(), "self/fd", &files, 0) == 0 && files.st_size > 0;
  }
  pids_.clear();
  left_out_ = 0;
  const Status read = directory->for_each([&](const char* name) {
    if (name[0] < '1' || name[0] > '9') return;
    const std::string_view text(name);
    std::int32_t pid = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), pid);
    if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return;
    pids_.size() < kMaxProcesses ? pids_.push_back(pid) : static_cast<void>(++left_out_);
  });
  if (!read) return std::unexpected(read.error().with_context(procfs_));
  if (pids_.empty()) return fail(Errc::kCorrupt, "{}: no process in it", procfs_);
  if (!std::ranges::is_sorted(pids_)) std::ranges::sort(pids_);
  return {};
}

/// Makes records_ those of the listed processes: known ones are kept, new ones are blank.
void ProcessScan::merge() {
  next_.clear();
  std::size_t known = 0;
  for (const std::int32_t pid : pids_) {
    while (known < records_.size() && records_[known].pid < pid) ++known;
    if (known < records_.size() && records_[known].pid == pid) {
      next_.push_back(std::move(records_[known++]));
    } else {
      next_.emplace_back().pid = pid;
    }
  }
  records_.swap(next_);
}

void ProcessScan::ask_counts() {
  if (!counts_ && pass_ >= counts_retry_) {
    auto opened = TaskCounts::open(procfs_);
    if (opened) counts_.emplace(std::move(*opened));
    counts_retry_ = pass_ + kCountsRetry;
  }
  if (!counts_) return;
  asked_.clear();
  asked_pids_.clear();
  for (std::size_t i = 0; i < records_.size(); ++i) {
    ProcessRecord& process = records_[i];
    if (process.kernel) continue;
    // An answer costs more than a third of a read; kRefresh is even, so its turn is never spared.
    process.spared = process.idle_asks >= kIdleAsks &&
                     (pass_ + static_cast<std::uint32_t>(process.pid)) % 2 != 0;
    if (process.spared) continue;
    asked_.push_back(static_cast<std::uint32_t>(i));
    asked_pids_.push_back(process.pid);
  }
  const Status asked = counts_->ask(asked_pids_, [&](std::size_t at, const TaskCount& count) {
    if (at >= asked_.size()) return;
    ProcessRecord& process = records_[asked_[at]];
    const bool is_idle = process.count.mark == count.mark;
    process.idle_asks = is_idle ? std::min<std::uint8_t>(process.idle_asks, 254) + 1 : 0;
    process.ran = process.ran || !is_idle;
    process.count = count;
    process.has_count = true;
  });
  if (!asked) counts_.reset();  // answers to this pass must not meet those to the next
}

bool ProcessScan::is_turn(const ProcessRecord& process) const noexcept {
  return (pass_ + static_cast<std::uint32_t>(process.pid)) % kRefresh == 0;
}

bool ProcessScan::is_due(const ProcessRecord& process) const noexcept {
  if (!is_live_ || process.start == 0 || is_turn(process)) return true;
  if (process.state == 'R') return true;
  if (process.spared) return false;
  if (process.has_count) {
    // Its memory may have changed without it.
    return process.ran || (pass_ + static_cast<std::uint32_t>(process.pid)) % (kRefresh / 8) == 0;
  }
  const std::uint32_t every = process.idle_reads < 4 ? 1 : process.idle_reads < 16 ? 2 : 4;
  return (pass_ + static_cast<std::uint32_t>(process.pid)) % every == 0;
}

void ProcessScan::look_at(ProcessRecord& process, ProcessVisitor& visitor) {
  const auto reading = read_stat(process);
  if (!reading) {
    process.gone = process.gone || process.start == 0;
    return;
  }
  if (process.start != 0 && process.start != reading->start) {  // another one of that number
    ProcessRecord blank;
    blank.pid = process.pid;
    blank.count = process.count;
    blank.has_count = process.has_count;
    process = std::move(blank);
  }
  take_counts(process, *reading, visitor);
  process.ran = false;
}

void ProcessScan::take_counts(ProcessRecord& process, const Reading& reading,
                              ProcessVisitor& visitor) {
  const bool fresh = process.start == 0;
  const bool renamed = fresh || process.comm != reading.comm;
  Usage now = reading.usage;
  const Usage& before = process.total;
  const bool ran = fresh || process.ran || now.user != before.user || now.system != before.system ||
                   now.minor_faults != before.minor_faults ||
                   now.major_faults != before.major_faults || reading.state == 'R';
  process.idle_reads = ran ? 0 : static_cast<std::uint8_t>(std::min(process.idle_reads + 1, 255));
  now.read_bytes = before.read_bytes;
  now.write_bytes = before.write_bytes;
  now.voluntary = before.voluntary;
  now.nonvoluntary = before.nonvoluntary;
  process.start = reading.start;
  process.parent = reading.parent;
  process.comm = reading.comm;
  process.state = reading.state;
  process.kernel = reading.kernel;
  process.threads = reading.threads;
  process.virtual_bytes = reading.virtual_bytes;
  process.resident = reading.resident;
  const bool full = renamed || is_turn(process) || !is_live_;
  if (!process.kernel && process.state != 'Z' && (full || ran)) read_details(process, now, full);
  if (full) {
    read_cgroup(process);
    visitor.identify(process);
  }
  const SteadyTime at = clock_.steady();
  const Usage use = fresh && pass_ == 0 ? Usage{} : used(process.total, now);
  const double elapsed = std::chrono::duration<double>(at - process.looked).count();
  const bool has_rate = !fresh && elapsed > 0;
  process.cpu = has_rate ? static_cast<double>(use.user + use.system) / ticks_ / elapsed : 0;
  process.io = has_rate ? static_cast<double>(use.read_bytes + use.write_bytes) / elapsed : 0;
  process.looked = at;
  process.total = now;
  visitor.add_use(process, use);
}

void ProcessScan::read_details(ProcessRecord& process, Usage& now, bool full) {
  const bool switches = !process.has_count;
  if (switches || full) read_status(process, now, switches);
  if (process.has_count) {
    now.voluntary = process.count.voluntary;
    now.nonvoluntary = process.count.nonvoluntary;
  }
  if (process.counts_threads != process.has_count) {
    // The last count was one of other threads: what was used meanwhile cannot be told.
    const bool known = process.total.voluntary + process.total.nonvoluntary > 0;
    if (known) {
      process.total.voluntary = now.voluntary;
      process.total.nonvoluntary = now.nonvoluntary;
    }
    process.counts_threads = process.has_count;
  }
  read_io(process, now);
  count_files(process);
  if (!full) return;
  read_limits(process);
  if (options_.proportional) read_proportional(process);
}

const char* ProcessScan::path_of(std::int32_t pid, std::string_view file) noexcept {
  char* const end = std::to_chars(path_.data(), path_.data() + 12, pid).ptr;
  *end = '/';
  std::memcpy(end + 1, file.data(), file.size());
  end[1 + file.size()] = '\0';
  return path_.data();
}

std::optional<std::string_view> ProcessScan::read_file(const ProcessRecord& process,
                                                       std::string_view file) {
  const host::Fd fd(::openat(proc_.get(), path_of(process.pid, file), O_RDONLY | O_CLOEXEC));
  const ssize_t size = fd ? ::read(fd.get(), bytes_.data(), bytes_.size()) : -1;
  if (size >= 0) return std::string_view(bytes_.data(), static_cast<std::size_t>(size));
  if (errno == EACCES || errno == EPERM) ++unreadable_;
  return std::nullopt;
}

std::optional<ProcessScan::Reading> ProcessScan::read_stat(ProcessRecord& process) {
  const auto text = read_file(process, "stat");
  if (!text) {
    process.gone = true;
    ++vanished_;
    return std::nullopt;
  }
  auto reading = parse_stat(*text, page_);
  if (!reading)
    complaints_->add(procfs_ + "/" + path_of(process.pid, "stat"), 1,
                     "PID (NAME) STATE and numbers", *text);
  return reading;
}

std::optional<ProcessScan::Reading> ProcessScan::parse_stat(std::string_view text,
                                                            std::uint64_t page) {
  const std::size_t name_begin = text.find('(');
  const std::size_t name_end = text.rfind(')');  // the name itself may contain anything
  if (name_end == std::string_view::npos || name_begin > name_end) return std::nullopt;
  Reading out;
  const std::string_view name = text.substr(name_begin + 1, name_end - name_begin - 1);
  std::memcpy(out.comm.data(), name.data(), std::min(name.size(), out.comm.size() - 1));
  std::string_view rest = base::trim(text.substr(name_end + 1));
  const std::string_view state = next_word(rest);
  if (state.size() != 1 || !is_letter(state.front())) return std::nullopt;
  out.state = state.front();
  std::array<std::uint64_t, kFields> numbers{};
  for (std::size_t i = kParent; i < kFields; ++i) {
    const std::string_view word = next_word(rest);
    // Some are negative; none of those that are kept.
    if (word.starts_with('-')) continue;
    const auto number = base::parse_uint(word);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  if (numbers[kThreads] > kMaxThreads || numbers[kParent] > kMaxThreads ||
      numbers[kResident] > (1ULL << 52))
    return std::nullopt;
  out.parent = static_cast<std::int32_t>(numbers[kParent]);
  out.kernel = (numbers[kFlags] & kKernelThread) != 0;
  out.threads = static_cast<std::uint32_t>(numbers[kThreads]);
  out.start = std::max<std::uint64_t>(numbers[kStart], 1);  // 0 is for: never read
  out.virtual_bytes = numbers[kVirtual];
  out.resident = numbers[kResident] * page;
  out.usage.user = numbers[kUser];
  out.usage.system = numbers[kSystem];
  out.usage.minor_faults = numbers[kMinorFaults];
  out.usage.major_faults = numbers[kMajorFaults];
  return out;
}

void ProcessScan::read_status(ProcessRecord& process, Usage& now, bool switches) {
  const auto text = read_file(process, "status");
  if (!text) return;
  if (const auto uid = field(*text, "Uid:")) process.uid = static_cast<std::uint32_t>(*uid);
  process.swapped = field(*text, "VmSwap:").value_or(0) * 1024;
  if (!switches) return;
  now.voluntary = field(*text, "voluntary_ctxt_switches:").value_or(now.voluntary);
  now.nonvoluntary = field(*text, "nonvoluntary_ctxt_switches:").value_or(now.nonvoluntary);
}

void ProcessScan::read_io(ProcessRecord& process, Usage& now) {
  const auto text = read_file(process, "io");
  if (!text) return;
  now.read_bytes = field(*text, "read_bytes:").value_or(now.read_bytes);
  now.write_bytes = field(*text, "write_bytes:").value_or(now.write_bytes);
}

void ProcessScan::count_files(ProcessRecord& process) {
  if (files_have_size_) {
    struct stat files{};
    if (::fstatat(proc_.get(), path_of(process.pid, "fd"), &files, 0) == 0)
      process.open_files = static_cast<std::uint32_t>(files.st_size);
    return;
  }
  const auto directory = Directory::open_at(proc_.get(), path_of(process.pid, "fd"));
  if (!directory) {
    if (directory.error().code() == Errc::kPermissionDenied) ++unreadable_;
    return;
  }
  std::uint32_t files = 0;
  const Status read = directory->for_each([&](const char* name) {
    if (name[0] != '.' && files < kListedFiles) ++files;
  });
  if (read) process.open_files = files;
}

void ProcessScan::read_limits(ProcessRecord& process) {
  const auto text = read_file(process, "limits");
  if (!text) return;
  process.file_limit = field(*text, "Max open files").value_or(0);
}

void ProcessScan::read_cgroup(ProcessRecord& process) {
  const auto text = read_file(process, "cgroup");
  const std::string_view path = text ? best_cgroup(*text) : std::string_view{};
  if (path.size() <= 1) return process.workload.reset();
  if (process.workload && process.workload->cgroup == path) return;
  std::weak_ptr<const Workload>& known = workloads_[std::string(path)];
  process.workload = known.lock();
  if (process.workload) return;
  process.workload = std::make_shared<const Workload>(workload_of(path));
  known = process.workload;
}

void ProcessScan::read_proportional(ProcessRecord& process) {
  const auto text = read_file(process, "smaps_rollup");
  if (!text) return;
  process.proportional = field(*text, "Pss:").value_or(0) * 1024;
  process.proportional_swap = field(*text, "SwapPss:").value_or(0) * 1024;
}

void ProcessScan::read_boot_time() {
  const auto text = buffer_.read(procfs_ + "/stat");
  if (!text) return complaints_->add(text.error());
  if (const auto boot = field(*text, "btime")) boot_ = static_cast<double>(*boot);
}

std::string_view ProcessScan::command_line(const ProcessRecord& process) {
  const auto text = read_file(process, "cmdline");
  if (!text) return {};
  std::size_t size = text->size();
  while (size > 0 && bytes_[size - 1] == '\0') --size;
  std::replace(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(size), '\0', ' ');
  return std::string_view(bytes_.data(), size);
}

std::string_view ProcessScan::executable(const ProcessRecord& process) {
  const ssize_t size =
      ::readlinkat(proc_.get(), path_of(process.pid, "exe"), bytes_.data(), bytes_.size());
  if (size <= 0) return {};
  std::string_view path(bytes_.data(), static_cast<std::size_t>(size));
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  return path.substr(path.rfind('/') + 1);
}

}  // namespace nexus::monitor

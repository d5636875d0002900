// processes: how many processes and threads there are, by state.
//
// Takes the table that process_groups has just made, where it is on; else one pass over /proc with
// openat(2) relative to it, one read and one buffer a process. A process that vanishes between
// being listed and being read is skipped and counted. A state that was seen once is reported as 0
// from then on, so that its series does not come and go.
#include <unistd.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/directory.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"
#include "nexus/monitor/observed.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{
        "threads_state", OptionType::kBool, "true",
        "Also node_processes_threads_state, one more file for every further thread of a process."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_processes_max_processes", MetricType::kGauge,
                     "Number of max PIDs limit"},
    MetricDescriptor{"node_processes_max_threads", MetricType::kGauge,
                     "Limit of threads in the system"},
    MetricDescriptor{"node_processes_pids", MetricType::kGauge, "Number of PIDs"},
    MetricDescriptor{"node_processes_threads", MetricType::kGauge, "Allocated threads in system"},
    MetricDescriptor{"node_processes_state", MetricType::kGauge,
                     "Number of processes in each state."},
    MetricDescriptor{"node_processes_threads_state", MetricType::kGauge,
                     "Number of threads in each state."},
    MetricDescriptor{"nexus_processes_vanished_total", MetricType::kCounter,
                     "Processes and threads that ended while they were being counted."},
};

// A line of /proc/PID/stat: 52 numbers and a name of at most 64 bytes.
constexpr std::size_t kStatBytes = 2048;
constexpr std::size_t kThreadsField = 17;  // after the name: num_threads, field 20 of proc(5)
constexpr Millis kFresh{12'000};           // how old a table of processes may be: one run
constexpr std::uint64_t kMaxThreads = 1ULL << 22;  // of the kernel (PID_MAX_LIMIT)

bool is_number(const char* name) {
  return name[0] >= '1' && name[0] <= '9';
}

/// Counts by state, a letter.
class States {
 public:
  void start_run() {
    for (Entry& entry : entries_) entry.count = 0;
  }
  void add(char state) {
    for (Entry& entry : entries_) {
      if (entry.state == state) return static_cast<void>(++entry.count);
    }
    entries_.push_back({state, 1});
  }
  void emit(Sink& sink, FamilyId family, std::string_view label) const {
    for (const Entry& entry : entries_) {
      sink.add(family, {{label, std::string_view(&entry.state, 1)}},
               static_cast<double>(entry.count));
    }
  }

 private:
  struct Entry {
    char state;
    std::uint64_t count;
  };
  std::vector<Entry> entries_;  // never more than there are letters
};

struct Stat {
  char state = 0;
  std::uint64_t threads = 0;
};

bool is_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::optional<Stat> parse_stat(std::string_view text) {
  const std::size_t name_end = text.rfind(')');  // the name itself may contain anything
  if (name_end == std::string_view::npos) return std::nullopt;
  std::string_view rest = base::trim(text.substr(name_end + 1));
  const std::string_view state = next_word(rest);
  if (state.size() != 1 || !is_letter(state.front())) return std::nullopt;
  std::string_view word;
  for (std::size_t i = 0; i < kThreadsField; ++i) word = next_word(rest);
  const auto threads = base::parse_uint(word);
  if (!threads || *threads > kMaxThreads) return std::nullopt;
  return Stat{state.front(), *threads};
}

class ProcessesCollector final : public Collector {
 public:
  explicit ProcessesCollector(const CollectorContext& context)
      : procfs_(context.roots.procfs),
        pid_max_(context.roots.proc("sys/kernel/pid_max")),
        threads_max_(context.roots.proc("sys/kernel/threads-max")),
        clock_(context.clock),
        observed_(context.observed),
        wants_threads_(option_bool(context, kProcessesCollector, "threads_state")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto proc = Directory::open_at(AT_FDCWD, procfs_.c_str());
    if (!proc) return propagate(std::move(proc), "{}", procfs_);
    pids_ = threads_ = 0;
    process_states_.start_run();
    thread_states_.start_run();
    if (const auto table = fresh_table()) {
      for (const ObservedProcess& process : table->processes) {
        count(proc->fd(), std::to_string(process.pid).c_str(), {process.state, process.threads});
      }
    } else {
      const Status read = proc->for_each([&](const char* name) {
        if (is_number(name)) count_process(proc->fd(), name);
      });
      if (!read) complaints_.add(read.error().with_context(procfs_));
    }
    if (pids_ == 0) complaints_.add(procfs_, "no process in it");
    add_limit(sink, families_[0], pid_max_);
    add_limit(sink, families_[1], threads_max_);
    sink.add(families_[2], static_cast<double>(pids_));
    sink.add(families_[3], static_cast<double>(threads_));
    process_states_.emit(sink, families_[4], "state");
    if (wants_threads_) thread_states_.emit(sink, families_[5], "thread_state");
    sink.add(families_[6], static_cast<double>(vanished_));
    return complaints_.take();
  }

 private:
  /// Of all processes, made a moment ago by process_groups; else null.
  [[nodiscard]] std::shared_ptr<const ProcessTable> fresh_table() const {
    auto table = observed_ != nullptr ? observed_->processes() : nullptr;
    if (!table || table->left_out > 0) return nullptr;
    const auto age = clock_.wall() - table->time;
    return age >= Millis(0) && age <= kFresh ? table : nullptr;
  }

  void count_process(int proc, const char* pid) {
    if (const std::optional<Stat> stat = read_stat(proc, pid)) count(proc, pid, *stat);
  }

  void count(int proc, const char* pid, const Stat& stat) {
    ++pids_;
    threads_ += stat.threads;
    process_states_.add(stat.state);
    if (!wants_threads_) return;
    thread_states_.add(stat.state);  // of its first thread
    if (stat.threads > 1) count_threads(proc, pid);
  }

  void count_threads(int proc, const char* pid) {
    const auto task = Directory::open_at(proc, (std::string(pid) + "/task").c_str());
    if (!task) return note_error(task.error(), std::string(pid) + "/task");
    const Status read = task->for_each([&](const char* name) {
      if (!is_number(name) || std::string_view(name) == pid) return;
      if (const auto stat = read_stat(task->fd(), name)) thread_states_.add(stat->state);
    });
    if (!read) note_error(read.error(), std::string(pid) + "/task");
  }

  std::optional<Stat> read_stat(int directory, const char* number) {
    name_.assign(number).append("/stat");
    const host::Fd fd(::openat(directory, name_.c_str(), O_RDONLY | O_CLOEXEC));
    const ssize_t size = fd ? ::read(fd.get(), bytes_.data(), bytes_.size()) : -1;
    if (size < 0) {
      note_error(Error::from_errno("read"), name_);
      return std::nullopt;
    }
    const std::string_view text(bytes_.data(), static_cast<std::size_t>(size));
    const std::optional<Stat> stat = parse_stat(text);
    if (!stat) complaints_.add(procfs_ + "/" + name_, 1, "PID (NAME) STATE and numbers", text);
    return stat;
  }

  void note_error(const Error& error, const std::string& name) {
    const bool vanished = error.system() == std::errc::no_such_file_or_directory ||
                          error.system() == std::errc::no_such_process;
    if (vanished) return static_cast<void>(++vanished_);
    complaints_.add(error.with_context(procfs_ + "/" + name));
  }

  void add_limit(Sink& sink, FamilyId family, const std::string& path) {
    const auto text = buffer_.read(path);
    if (!text) return complaints_.add(text.error());
    const auto limit = base::parse_uint(base::trim(*text));
    if (!limit) return complaints_.add(path, 1, "a number", base::trim(*text));
    sink.add(family, static_cast<double>(*limit));
  }

  const std::string procfs_;
  const std::string pid_max_;
  const std::string threads_max_;
  Clock& clock_;
  const Observed* const observed_;
  const bool wants_threads_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  std::array<char, kStatBytes> bytes_{};
  std::string name_;
  States process_states_;
  States thread_states_;
  std::uint64_t pids_ = 0;
  std::uint64_t threads_ = 0;
  std::uint64_t vanished_ = 0;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kProcessesCollector = {
    .name = "processes",
    .help = "Processes and threads, by state, and their limits.",
    .default_interval =
        Millis(10'000),  // with process_groups, whose table it takes; else one file a process
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<ProcessesCollector>(context);
    },
};

}  // namespace nexus::monitor

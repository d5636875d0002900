#include "monitor/process_threads.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>

#include "monitor/directory.hpp"
#include "monitor/parse.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::string_view kOther = "(other)";

}  // namespace

void ProcessThreads::start_pass() {
  ++pass_;
  seen_ = 0;
  left_out_ = 0;
  waiting_.clear();
  for (auto& [key, named] : named_) named.threads = 0;
}

void ProcessThreads::add(const std::string& group, std::int32_t pid) {
  path_.assign(procfs_).append("/").append(std::to_string(pid)).append("/task");
  const auto task = Directory::open_at(AT_FDCWD, path_.c_str());
  if (!task) return;  // it ended
  const Status listed = task->for_each([&](const char* name) {
    const auto tid = base::parse_uint(name);
    if (!tid) return;
    if (seen_ >= kMaxThreads) return static_cast<void>(++left_out_);
    const auto reading = read(task->fd(), name);
    if (!reading) return;
    ++seen_;
    take(group, static_cast<std::uint32_t>(*tid), *reading);
    take_channel(group, task->fd(), name);
  });
  static_cast<void>(listed);  // it ended in the middle
}

void ProcessThreads::finish_pass() {
  std::erase_if(threads_, [this](const auto& one) { return one.second.pass != pass_; });
  std::map<std::string, bool, std::less<>> alive;
  for (const auto& [key, named] : named_) alive[key.first] |= named.pass == pass_;
  std::erase_if(named_, [&](const auto& one) { return !alive[one.first.first]; });
  std::erase_if(names_, [&](const auto& one) { return !alive[one.first]; });
}

/// stat, status and io of a thread; nothing when it is gone.
std::optional<ProcessThreads::Reading> ProcessThreads::read(int task, const char* tid) {
  std::array<char, 64> file{};
  const auto at = [&](host::FileBuffer& buffer, const char* what) {
    *fmt::format_to_n(file.data(), file.size() - 1, "{}/{}", tid, what).out = '\0';
    return buffer.read_at(task, file.data());
  };
  const auto text = at(stat_, "stat");
  if (!text) return std::nullopt;
  const std::size_t open = text->find('(');
  const std::size_t close = text->rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return std::nullopt;
  Reading out;
  out.name = text->substr(open + 1, close - open - 1);
  // After the name, from the state on, as proc(5) numbers them less three.
  std::string_view rest = text->substr(close + 1);
  std::array<std::uint64_t, 20> fields{};
  for (std::uint64_t& field : fields) field = base::parse_uint(next_word(rest)).value_or(0);
  out.usage.minor_faults = fields[7];
  out.usage.major_faults = fields[9];
  out.usage.user = fields[11];
  out.usage.system = fields[12];
  out.start = fields[19];
  if (const auto status = at(buffer_, "status")) take_switches(*status, out.usage);
  if (const auto io = at(buffer_, "io")) take_io(*io, out.usage);  // may be forbidden
  return out;
}

void ProcessThreads::take_switches(std::string_view status, Usage& usage) {
  while (!status.empty()) {
    std::string_view line = base::take_until(status, '\n');
    const std::string_view key = next_word(line);
    if (key == "voluntary_ctxt_switches:")
      usage.voluntary = base::parse_uint(next_word(line)).value_or(0);
    if (key == "nonvoluntary_ctxt_switches:")
      usage.nonvoluntary = base::parse_uint(next_word(line)).value_or(0);
  }
}

void ProcessThreads::take_io(std::string_view io, Usage& usage) {
  while (!io.empty()) {
    std::string_view line = base::take_until(io, '\n');
    const std::string_view key = next_word(line);
    if (key == "read_bytes:") usage.read_bytes = base::parse_uint(next_word(line)).value_or(0);
    if (key == "write_bytes:") usage.write_bytes = base::parse_uint(next_word(line)).value_or(0);
  }
}

void ProcessThreads::take(const std::string& group, std::uint32_t tid, const Reading& reading) {
  Key key(group, base::sanitize_utf8(reading.name));
  auto found = named_.find(key);
  if (found == named_.end()) {
    if (names_[group] >= kMaxNames) key.second = kOther;
    found = named_.find(key);
    if (found == named_.end()) {
      ++names_[group];
      found = named_.emplace(std::move(key), Named{}).first;
    }
  }
  Named& named = found->second;
  named.pass = pass_;
  ++named.threads;
  const auto [known, fresh] = threads_.try_emplace(tid);
  Thread& thread = known->second;
  const bool born = fresh || thread.start != reading.start;
  if (!born) named.total += used(thread.last, reading.usage);
  if (born && pass_ > 1) named.total += reading.usage;
  thread = {reading.start, pass_, reading.usage};
}

void ProcessThreads::take_channel(const std::string& group, int task, const char* tid) {
  const auto text = buffer_.read_at(task, (std::string(tid) + "/wchan").c_str());
  if (!text) return;
  const std::string_view channel = base::trim(*text);
  if (channel.empty() || channel == "0") return;  // it runs
  Key key(group, base::sanitize_utf8(channel));
  const auto found = waiting_.find(key);
  if (found != waiting_.end()) {
    ++found->second;
  } else if (waiting_.size() < kMaxChannels) {
    waiting_.emplace(std::move(key), 1);
  }
}

}  // namespace nexus::monitor

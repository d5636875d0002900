#include "nexus/host/process.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::host {
namespace {

constexpr std::uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD of linux/sched.h
constexpr std::size_t kMaxCommand = 200;

template <typename T>
T number_at(const std::vector<std::string_view>& fields, std::size_t field) {
  // Fields are counted as proc(5) does; the first one here is the third there.
  const std::size_t index = field - 3;
  if (index >= fields.size()) return T{};
  return static_cast<T>(base::parse_int(fields[index]).value_or(0));
}

Result<ProcessFacts> facts_from(std::string_view stat, pid_t pid) {
  const auto open = stat.find('(');
  const auto close = stat.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open ||
      close + 2 >= stat.size())
    return fail(Errc::kCorrupt, "/proc/{}/stat: expected \"PID (NAME) STATE ...\"", pid);
  const auto fields = base::split(base::trim(stat.substr(close + 2)), ' ');
  ProcessFacts out;
  out.id = {.pid = pid, .start = number_at<std::uint64_t>(fields, 22)};
  out.name = base::sanitize_utf8(stat.substr(open + 1, close - open - 1));
  out.state = fields.front().empty() ? '?' : fields.front().front();
  out.parent = number_at<pid_t>(fields, 4);
  out.session = number_at<pid_t>(fields, 6);
  out.has_terminal = number_at<int>(fields, 7) != 0;
  out.is_kernel_thread = (number_at<std::uint64_t>(fields, 9) & kKernelThread) != 0;
  out.nice = number_at<int>(fields, 19);
  out.threads = number_at<std::uint64_t>(fields, 20);
  out.resident =
      number_at<std::uint64_t>(fields, 24) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return out;
}

bool is_unit(std::string_view part) {
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{".service", ".scope", ".socket", ".slice"},
      [&](std::string_view suffix) { return part.ends_with(suffix); });
}

/// The units of "0::/system.slice/web.service/worker".
std::vector<std::string> units_of(std::string_view cgroups) {
  std::vector<std::string> out;
  while (!cgroups.empty()) {
    auto line = base::take_until(cgroups, '\n');
    if (!line.starts_with("0::") && !line.contains(":name=systemd:")) continue;
    for (const auto part : base::split(line.substr(line.rfind(':') + 1), '/')) {
      if (is_unit(part)) out.emplace_back(part);
    }
    if (!out.empty()) break;
  }
  return out;
}

std::string program_of(const std::string& directory) {
  std::array<char, 4096> target{};
  const auto size = ::readlink((directory + "exe").c_str(), target.data(), target.size());
  return size < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(size));
}

}  // namespace

std::string to_string(const ProcessId& id) {
  return fmt::format("{}:{}", id.pid, id.start);
}

Result<ProcessId> parse_process(std::string_view text) {
  auto rest = text;
  const auto pid = base::parse_uint(base::take_until(rest, ':'));
  const auto start = text.contains(':') ? base::parse_uint(rest) : std::optional<std::uint64_t>(0);
  if (!pid || *pid == 0 || *pid > 0x7fffffff || !start || (text.contains(':') && *start == 0)) {
    return fail(Errc::kInvalidArgument,
                "\"{}\": expected a process as PID:START, its start time being field 22 of "
                "/proc/PID/stat",
                text);
  }
  return ProcessId{.pid = static_cast<pid_t>(*pid), .start = *start};
}

Result<ProcessFacts> process_facts(const ProcessId& id, const std::string& procfs) {
  const auto directory = fmt::format("{}/{}/", procfs, id.pid);
  FileBuffer buffer;
  auto stat = buffer.read(directory + "stat");
  if (!stat) {
    return fail(
        stat.error().code() == Errc::kPermissionDenied ? Errc::kPermissionDenied : Errc::kNotFound,
        "there is no process {}: {}", id.pid, stat.error().message());
  }
  auto facts = facts_from(*stat, id.pid);
  if (!facts) return facts;
  if (id.start != 0 && facts->id.start != id.start) {
    return fail(Errc::kNotFound, "process {} has ended: its pid belongs to {}, which began at {}",
                to_string(id), facts->name, facts->id.start);
  }
  facts->program = program_of(directory);
  if (auto cgroup = buffer.read(directory + "cgroup")) facts->units = units_of(*cgroup);
  if (!facts->units.empty()) facts->unit = facts->units.back();
  return facts;
}

bool has_ended(const ProcessId& id, const std::string& procfs) {
  const auto now = process_facts(id, procfs);
  if (!now) return now.error().code() == Errc::kNotFound;
  return now->state == 'Z' && now->threads <= 1;
}

std::string process_command(const ProcessId& id, const std::string& procfs) {
  FileBuffer buffer;
  const auto arguments = buffer.read(fmt::format("{}/{}/cmdline", procfs, id.pid));
  if (!arguments) return {};
  std::string text(arguments->substr(0, kMaxCommand));
  std::ranges::replace(text, '\0', ' ');
  return base::sanitize_utf8(base::trim(text));
}

Result<bool> heeds_signal(const ProcessId& id, int number, const std::string& procfs) {
  const auto path = fmt::format("{}/{}/status", procfs, id.pid);
  FileBuffer buffer;
  auto status = buffer.read(path);
  if (!status) return propagate(std::move(status));
  std::uint64_t heeded = 0;
  std::string_view rest = *status;
  for (auto line = base::take_until(rest, '\n'); !line.empty();
       line = base::take_until(rest, '\n')) {
    const auto name = base::take_until(line, ':');
    if (name != "SigCgt" && name != "SigIgn") continue;
    const auto mask = base::parse_uint(base::trim(line), 16);
    if (!mask) return fail(Errc::kCorrupt, "{}: expected a mask behind {}", path, name);
    heeded |= *mask;
  }
  return (heeded >> (number - 1) & 1) != 0;
}

}  // namespace nexus::host

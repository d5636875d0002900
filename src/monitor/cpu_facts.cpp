#include "monitor/cpu_facts.hpp"

#include <algorithm>

namespace nexus::monitor {
namespace {

constexpr Millis kReadAgain{10'000};
constexpr std::uint64_t kMaxCpus = 1U << 16;

std::string_view cpu_number(std::string_view name) {
  if (!name.starts_with("cpu")) return {};
  const std::string_view number = name.substr(3);
  return base::parse_uint(number) ? number : std::string_view();
}

}  // namespace

CpuFacts::CpuFacts(const host::Roots& roots, Clock& clock, const CpuFactFamilies& families)
    : path_(roots.sys("devices/system/cpu")), clock_(clock), families_(families) {}

void CpuFacts::add(Sink& sink, Complaints& complaints) {
  const SteadyTime now = clock_.steady();
  if (!was_read_ || now - read_at_ >= kReadAgain) {
    was_read_ = true;
    read_at_ = now;
    refresh(complaints);
  }
  for (const Fact& fact : facts_) {
    if (fact.family == families_.core_throttles) {
      sink.add(fact.family, {{"package", fact.labels[0]}, {"core", fact.labels[1]}}, fact.value);
    } else if (fact.family == families_.package_throttles) {
      sink.add(fact.family, {{"package", fact.labels[0]}}, fact.value);
    } else {
      sink.add(fact.family, {{"cpu", fact.labels[0]}}, fact.value);
    }
  }
}

void CpuFacts::refresh(Complaints& complaints) {
  facts_.clear();
  const auto root = SmallDir::open(path_);
  if (!root || !names_.read(*root)) return;
  SmallFiles files(complaints);
  for (const char* name : names_.names()) {
    const std::string_view number = cpu_number(name);
    const auto cpu = number.empty() ? std::nullopt : root->child(name);
    if (cpu) read_cpu(files, *cpu, number);
  }
  if (const auto isolated = files.text(*root, "isolated")) read_isolated(complaints, *isolated);
}

void CpuFacts::read_cpu(SmallFiles& files, const SmallDir& cpu, std::string_view number) {
  // The first CPU of many machines cannot be taken out and has no such file.
  if (const auto online = files.number(cpu, "online"))
    facts_.push_back({families_.online, {std::string(number), {}}, *online});
  const auto throttle = cpu.child("thermal_throttle");
  if (!throttle) return;
  const auto package = files.text(cpu, "topology/physical_package_id");
  if (!package) return;
  const std::string package_id(*package);
  const auto core = files.text(cpu, "topology/core_id");
  if (!core) return;
  const std::string core_id(*core);
  // Threads of one core tell the same.
  if (!knows(families_.core_throttles, package_id, core_id)) {
    if (const auto count = files.number(*throttle, "core_throttle_count"))
      facts_.push_back({families_.core_throttles, {package_id, core_id}, *count});
  }
  if (!knows(families_.package_throttles, package_id, {})) {
    if (const auto count = files.number(*throttle, "package_throttle_count"))
      facts_.push_back({families_.package_throttles, {package_id, {}}, *count});
  }
}

/// "0-3,8": a list of CPUs and ranges.
void CpuFacts::read_isolated(Complaints& complaints, std::string_view list) {
  while (!list.empty()) {
    std::string_view last = base::take_until(list, ',');
    const std::string_view whole = last;
    const auto from = base::parse_uint(base::take_until(last, '-'));
    const auto to = last.empty() ? from : base::parse_uint(last);
    if (!from || !to || *to >= kMaxCpus) {
      complaints.add(path_ + "/isolated", 1, "numbers and ranges of CPUs", whole);
      continue;
    }
    for (std::uint64_t cpu = *from; cpu <= *to; ++cpu)
      facts_.push_back({families_.isolated, {std::to_string(cpu), {}}, 1});
  }
}

bool CpuFacts::knows(FamilyId family, std::string_view package, std::string_view core) const {
  return std::ranges::any_of(facts_, [&](const Fact& fact) {
    return fact.family == family && fact.labels[0] == package && fact.labels[1] == core;
  });
}

}  // namespace nexus::monitor

#include "monitor/host_tree.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <fstream>

#include "nexus/base/id.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor::testing {

namespace fs = std::filesystem;

TemporaryTree::TemporaryTree()
    : root_(fs::temp_directory_path() / ("nexus-tree-" + base::random_hex(8))) {
  fs::create_directories(root_ / "proc");
  fs::create_directories(root_ / "sys");
}

TemporaryTree::~TemporaryTree() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

void TemporaryTree::write(std::string_view path, std::string_view content) const {
  const fs::path file = root_ / path;
  fs::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out << content;
  REQUIRE(out.good());
}

void TemporaryTree::remove(std::string_view path) const {
  fs::remove_all(root_ / path);
}

host::Roots TemporaryTree::roots() const {
  return roots_at(root_.string());
}

bool is_file_based(std::string_view collector) {
  constexpr std::array<std::string_view, 12> kOthers = {
      "agent",          "connections", "ethtool", "logind",  "network_route", "perf",
      "process_events", "qdisc",       "systemd", "tcpstat", "timex",         "wifi"};
  const CollectorDescriptor* descriptor = find_collector(collector);
  return std::ranges::find(kOthers, collector) == kOthers.end() &&
         (descriptor == nullptr || !descriptor->remote);
}

std::string host_path(std::string_view name) {
  return std::string(NEXUS_TEST_DATA) + "/hosts/" + std::string(name);
}

host::Roots roots_at(const std::string& tree) {
  return {.procfs = tree + "/proc", .sysfs = tree + "/sys", .rootfs = tree};
}

void RecordingSink::add(FamilyId family, std::span<const LabelView> labels, double value) {
  ++count_;
  if (keep_ == Keep::kCountOnly) return;
  const knowledge::Labels all(registry_.family(family).name, labels);
  lines_.push_back(knowledge::to_string(all) + " " + base::format_double(value));
}

void RecordingSink::clear() {
  count_ = 0;
  lines_.clear();
}

std::string RecordingSink::text() const {
  std::vector<std::string> sorted = lines_;
  std::ranges::sort(sorted);
  std::string text;
  for (const std::string& line : sorted) text.append(line).append(1, '\n');
  return text;
}

bool RecordingSink::has(std::string_view series) const {
  const std::string head = std::string(series) + " ";
  return std::ranges::any_of(lines_, [&](const auto& line) { return line.starts_with(head); });
}

double RecordingSink::value(std::string_view series) const {
  const std::string head = std::string(series) + " ";
  const auto found =
      std::ranges::find_if(lines_, [&](const auto& line) { return line.starts_with(head); });
  INFO("looking for " << series << " in\n" << text());
  REQUIRE(found != lines_.end());
  return base::parse_double(std::string_view(*found).substr(head.size())).value();
}

CollectorRig::CollectorRig(std::string_view name, host::Roots tree, config::Parameters given,
                           RecordingSink::Keep keep)
    : roots(std::move(tree)), options(std::move(given)), sink(registry, keep) {
  const CollectorDescriptor* descriptor = find_collector(name);
  REQUIRE(descriptor != nullptr);
  auto made = descriptor->make({.roots = roots,
                                .clock = clock,
                                .registry = registry,
                                .options = options,
                                .observed = &observed});
  INFO((made ? std::string() : made.error().message()));
  REQUIRE(made.has_value());
  collector = std::move(*made);
}

Status CollectorRig::run() {
  sink.clear();
  return collector->collect(sink);
}

std::string CollectorRig::failure() {
  const Status done = run();
  REQUIRE_FALSE(done.has_value());
  return done.error().message();
}

}  // namespace nexus::monitor::testing

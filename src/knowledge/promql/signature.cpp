#include "knowledge/promql/signature.hpp"

#include <algorithm>

namespace nexus::knowledge::promql {
namespace {

constexpr char kEnd = '\xff';  // no label has this byte: labels are valid UTF-8

}  // namespace

Labels labels_of(const Row& row) {
  static const Signature kAll({}, Name::kKept);
  return row.nameless ? kAll.labels(row) : *row.labels;
}

std::string_view label_of(const Row& row, std::string_view name) {
  return row.nameless && name == kMetricName ? std::string_view() : row.labels->get(name);
}

Signature::Signature(const LabelSet& set, Name name)
    : listed_count_(set.listed_count), drop_name_(name == Name::kDropped), names_(set.names) {
  std::ranges::sort(names_);
  names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
}

void Signature::append(std::string& out, const Row& row) const {
  if (listed_count_) {
    for (const std::string& name : names_) {
      if (name != kMetricName || !(row.nameless || drop_name_)) out += row.labels->get(name);
      out += kEnd;
    }
    return;
  }
  const bool nameless = row.nameless || drop_name_;
  for (const Label& label : *row.labels) {
    if (nameless && label.name == kMetricName) continue;
    if (std::ranges::binary_search(names_, label.name)) continue;
    out += label.name;
    out += kEnd;
    out += label.value;
    out += kEnd;
  }
}

Labels Signature::labels(const Row& row) const {
  const bool nameless = row.nameless || drop_name_;
  std::vector<std::string> names = names_;
  if (listed_count_) {
    if (nameless) std::erase(names, kMetricName);
    return row.labels->only(names);
  }
  if (nameless) names.emplace_back(kMetricName);
  return row.labels->without(names);
}

std::uint32_t SignatureIndex::add(const Row& row) {
  key_.clear();
  signature_.append(key_, row);
  return numbers_.try_emplace(key_, static_cast<std::uint32_t>(numbers_.size())).first->second;
}

}  // namespace nexus::knowledge::promql

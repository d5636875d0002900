// Relabelling as Prometheus 3 does it: steps in order, each with its action.
//
// Regular expressions are RE2, anchored at both ends, `.` matches newlines; replacements are Go's
// templates ($1, ${1}, ${name}, $$). Labels of the same name do not occur. Thread safety: apply()
// by any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/config/sources.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::monitor {

using LabelList = std::vector<knowledge::Label>;

/// Of a list; empty when absent.
[[nodiscard]] std::string_view label_of(const LabelList& labels, std::string_view name) noexcept;
/// An empty value removes the label.
void set_label(LabelList& labels, std::string_view name, std::string value);

class Relabeling {
 public:
  [[nodiscard]] static Result<Relabeling> compile(const std::vector<config::RelabelConfig>& steps);
  /// False: what has these labels is dropped.
  [[nodiscard]] bool apply(LabelList& labels) const;
  [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }

 private:
  struct Step;
  std::vector<std::shared_ptr<const Step>> steps_;
};

}  // namespace nexus::monitor

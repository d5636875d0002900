// Remedies, compiled: matchers over a finding and templates for what the action gets from it.
//
// A finding is matched by its labels and, unless a label of its own has that name, by `severity`,
// `kind`, `subject` and its name as `__name__`. "${label}" in target, string parameters and the
// verify expression takes the same values; in an expression only inside a string literal, where the
// value is escaped, so that no label can change what is asked. Thread safety: immutable.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/analyze/finding.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/operate.hpp"
#include "nexus/knowledge/labels.hpp"
#include "nexus/plan/planner.hpp"
#include "plan/windows.hpp"

namespace nexus::plan {

/// What a label name means for a finding; empty when it has none of that name.
[[nodiscard]] std::string_view label_of(const analyze::Finding& finding, std::string_view name);

/// Text with "${label}" in it.
class Template {
 public:
  [[nodiscard]] static Result<Template> parse(std::string_view text);
  using Filter = std::string (*)(std::string_view value);
  /// kNotFound naming the label that the finding does not have. `filter` is applied to each value.
  [[nodiscard]] Result<std::string> render(const analyze::Finding& finding,
                                           Filter filter = nullptr) const;
  /// The text with the same replacement for every label.
  [[nodiscard]] std::string with(std::string_view value) const;

 private:
  struct Piece {
    bool is_label;
    std::string text;
  };
  std::vector<Piece> pieces_;
};

/// A step of a ladder, compiled.
struct RungTemplate {
  Template target;
  Template verify;
};

struct Remedy {
  config::RemedyConfig definition;
  std::string digest;  // of what the definition says about an action: Action::definition
  std::vector<knowledge::Matcher> matchers;
  Template target;
  Template verify;
  Template only_if;
  Template metric;                  // of the experiment
  std::vector<RungTemplate> rungs;  // as definition.steps

  [[nodiscard]] bool matches(const analyze::Finding& finding) const;
  /// The finding's subject when no target is configured.
  [[nodiscard]] Result<std::string> target_for(const analyze::Finding& finding) const;
  [[nodiscard]] Result<config::Parameters> parameters_for(const analyze::Finding& finding) const;
  [[nodiscard]] Result<std::optional<config::VerifyConfig>> verify_for(
      const analyze::Finding& finding) const;
  /// Empty: there is none.
  [[nodiscard]] Result<std::string> only_if_for(const analyze::Finding& finding) const;
  [[nodiscard]] Result<std::optional<config::ExperimentConfig>> experiment_for(
      const analyze::Finding& finding) const;
  /// The rungs of a ladder. `action` has the remedy's own target, verify and time limit, which hold
  /// for a rung that has none of its own.
  [[nodiscard]] Result<std::vector<Rung>> rungs_for(const analyze::Finding& finding,
                                                    const Action& action) const;
};

/// The type by which an action's target is named: that of a ladder's first rung.
[[nodiscard]] std::string_view naming_type(const Action& action);
[[nodiscard]] std::string_view naming_type(const config::RemedyConfig& remedy);

struct RemedySet::Impl {
  std::vector<Remedy> remedies;  // as configured, disabled ones too
  std::vector<Window> windows;   // [[maintenance]]

  [[nodiscard]] const Remedy* find(std::string_view name) const;
};

}  // namespace nexus::plan

// A template of rule files for texts elsewhere: $labels, $value, $externalLabels, $externalURL and
// every function but `query`. Thread safety: immutable.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"

namespace nexus::analyze {

class Template;

class TextTemplate {
 public:
  struct Data {
    config::StringMap labels;
    config::StringMap external_labels;
    std::string external_url;
    double value = 0;
  };

  /// kInvalidArgument when it cannot be right.
  [[nodiscard]] static Result<TextTemplate> parse(std::string_view text, std::string name);
  /// As Prometheus shows a failure: "<error expanding template: ...>".
  [[nodiscard]] std::string expand(const Data& data) const;

 private:
  explicit TextTemplate(std::shared_ptr<const Template> made) : made_(std::move(made)) {}
  std::shared_ptr<const Template> made_;
};

}  // namespace nexus::analyze

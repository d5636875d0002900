// Templates of rules' labels and annotations: the part of Go's text/template that Prometheus's rule
// files use, with Prometheus's functions.
//
// Built: text and comments, {{- trimming -}}, pipelines, parentheses, fields, variables, literals;
// if, else if, else, with, range, break, continue, end; define, template, block; the built-in
// functions and every one of Prometheus's. Of an absent label the value is empty. Errors of parse()
// read "template: NAME:LINE: ...", as Go's do.
//
// Bounded: what one expansion writes and what its functions are given and give (kMaxOutput each),
// and the steps it takes.
//
// Thread safety: a Template is immutable and may be expanded by several threads at once.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::analyze {

using config::StringMap;

/// What a template may ask for.
struct TemplateData {
  StringMap labels;
  StringMap external_labels;
  std::string external_url;
  double value = 0;
  WallTime time{};  // of the evaluation
  /// Runs a query at that time; unset: `query` is an error.
  std::function<Result<knowledge::promql::Vector>(std::string_view expression)> query;
};

/// What all templates of one agent know of it.
struct TemplateContext {
  StringMap external_labels;
  std::string external_url;
};

namespace templates {
struct Program;
}

class Template {
 public:
  static constexpr std::size_t kMaxOutput = 64UL << 10;

  /// `name` is used in messages. kInvalidArgument when it cannot be right.
  [[nodiscard]] static Result<Template> parse(std::string_view text, std::string name);
  /// The same template in a context, which counts where the data of an expansion has neither
  /// external labels nor URL.
  [[nodiscard]] Template in(std::shared_ptr<const TemplateContext> context) const;
  [[nodiscard]] Result<std::string> expand(const TemplateData& data) const;
  /// As Prometheus shows a failure: "<error expanding template: ...>".
  [[nodiscard]] std::string expand_or_say(const TemplateData& data) const;

 private:
  explicit Template(std::shared_ptr<const templates::Program> program)
      : program_(std::move(program)) {}
  std::shared_ptr<const templates::Program> program_;
  std::shared_ptr<const TemplateContext> context_;
};

}  // namespace nexus::analyze

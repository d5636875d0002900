#include "monitor/name_filter.hpp"

#include <re2/re2.h>

namespace nexus::monitor {
namespace {

Result<std::shared_ptr<const re2::RE2>> compile(std::string_view pattern) {
  if (pattern.empty()) return std::shared_ptr<const re2::RE2>();
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_never_capture(true);
  auto regex =
      std::make_shared<const re2::RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!regex->ok()) {
    return fail(Errc::kInvalidArgument, "regular expression \"{}\": {}", pattern, regex->error());
  }
  return regex;
}

bool matches(const re2::RE2& regex, std::string_view name) {
  return re2::RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), regex);
}

}  // namespace

Status check_regex(std::string_view pattern) {
  auto compiled = compile(pattern);
  if (!compiled) return propagate(std::move(compiled));
  return {};
}

Result<NameFilter> NameFilter::make(std::string_view include, std::string_view exclude) {
  auto included = compile(include);
  if (!included) return propagate(std::move(included), "include");
  auto excluded = compile(exclude);
  if (!excluded) return propagate(std::move(excluded), "exclude");
  NameFilter filter;
  filter.include_ = std::move(*included);
  filter.exclude_ = std::move(*excluded);
  return filter;
}

bool NameFilter::accepts(std::string_view name) const {
  if (exclude_ != nullptr && matches(*exclude_, name)) return false;
  return include_ == nullptr || matches(*include_, name);
}

}  // namespace nexus::monitor

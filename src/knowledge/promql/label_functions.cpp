// label_replace and label_join: new labels for series whose values stay as they are.
#include <re2/re2.h>

#include <array>
#include <optional>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/signature.hpp"

namespace nexus::knowledge::promql {
namespace {

const std::string& text_of(const Call& call, std::size_t argument) {
  return std::get<StringLiteral>(without_parens(*call.arguments[argument]).kind).value;
}

Status check_label_name(const std::string& name, std::string_view role, std::string_view function) {
  if (!name.empty()) return {};
  return fail(Errc::kConflict, "invalid {} label name in {}(): \"\"", role, function);
}

/// The row under its labels with `value` as label `name`; an empty value removes the label.
Result<Row> relabelled(Evaluator& evaluator, const Row& row, const std::string& name,
                       const std::string& value) {
  Labels labels = labels_of(row);
  labels = value.empty() ? labels.without(std::array{name}) : labels.with(name, value);
  auto kept = evaluator.keep_made(std::move(labels));
  if (!kept) return propagate(std::move(kept));
  return Row{*kept, false};
}

/// Applies `value_of` (row -> optional new value of the label) to every row.
template <typename ValueOf>
Result<Block> relabel(Evaluator& evaluator, Block block, const std::string& name,
                      ValueOf&& value_of) {
  for (Row& row : block.rows) {
    const std::optional<std::string> value = value_of(row);
    if (!value) continue;
    auto made = relabelled(evaluator, row, name, *value);
    if (!made) return propagate(std::move(made));
    row = *made;
  }
  block.names_matter = true;  // or any other label that was alone in telling rows apart
  if (Status status = merge_equal_rows(block, false); !status) {
    return std::unexpected(std::move(status).error());
  }
  return block;
}

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/// A replacement, e.g. "$1-${name}", cut once into what stands and what the groups bring.
class Template {
 public:
  Template(std::string_view text, const re2::RE2& regex) {
    while (!text.empty()) {
      const std::size_t dollar = text.find('$');
      parts_.push_back({std::string(text.substr(0, dollar)), kNoGroup});
      if (dollar == std::string_view::npos) return;
      text.remove_prefix(dollar + 1);
      take_reference(text, regex);
    }
  }

  [[nodiscard]] std::string expand(std::span<const re2::StringPiece> groups) const {
    std::string out;
    for (const Part& part : parts_) {
      out += part.text;
      if (part.group != kNoGroup) out.append(groups[part.group].data(), groups[part.group].size());
    }
    return out;
  }

 private:
  static constexpr std::size_t kNoGroup = static_cast<std::size_t>(-1);
  struct Part {
    std::string text;
    std::size_t group;
  };

  /// `text` stands behind a dollar sign. What is no reference stands for itself, as in Go.
  void take_reference(std::string_view& text, const re2::RE2& regex) {
    if (text.starts_with('$')) {
      parts_.push_back({"$", kNoGroup});
      text.remove_prefix(1);
      return;
    }
    const bool braced = text.starts_with('{');
    std::size_t end = braced ? 1 : 0;
    while (end < text.size() && is_word(text[end])) ++end;
    const std::string name(text.substr(braced ? 1 : 0, end - (braced ? 1 : 0)));
    if (name.empty() || (braced && (end == text.size() || text[end] != '}'))) {
      parts_.push_back({"$", kNoGroup});
      return;
    }
    text.remove_prefix(braced ? end + 1 : end);
    parts_.push_back({{}, group_of(name, regex)});
  }

  static std::size_t group_of(const std::string& name, const re2::RE2& regex) {
    const auto& names = regex.NamedCapturingGroups();
    if (const auto found = names.find(name); found != names.end()) {
      return static_cast<std::size_t>(found->second);
    }
    if (name.find_first_not_of("0123456789") != std::string::npos || name.size() > 5) {
      return kNoGroup;
    }
    if (name.size() > 1 && name.front() == '0') return kNoGroup;  // Go takes no leading zero
    const auto number = static_cast<std::size_t>(std::stoul(name));
    const auto groups = static_cast<std::size_t>(regex.NumberOfCapturingGroups());
    return number <= groups ? number : kNoGroup;
  }

  std::vector<Part> parts_;
};

}  // namespace

Result<Block> label_replace(Evaluator& evaluator, const Call& call) {
  const std::string& destination = text_of(call, 1);
  const std::string& source = text_of(call, 3);
  const std::string& pattern = text_of(call, 4);
  re2::RE2::Options options;
  options.set_log_errors(false);
  const re2::RE2 regex("^(?s:" + pattern + ")$", options);
  if (!regex.ok()) {
    return fail(Errc::kConflict, "invalid regular expression in label_replace(): {}: {}", pattern,
                regex.error());
  }
  if (Status name = check_label_name(destination, "destination", "label_replace"); !name) {
    return std::unexpected(std::move(name).error());
  }
  auto block = evaluator.evaluate(*call.arguments.front());
  if (!block) return block;
  const Template replacement(text_of(call, 2), regex);
  std::vector<re2::StringPiece> groups(static_cast<std::size_t>(regex.NumberOfCapturingGroups()) +
                                       1);
  return relabel(evaluator, std::move(*block), destination,
                 [&](const Row& row) -> std::optional<std::string> {
                   const std::string_view value = label_of(row, source);
                   const re2::StringPiece text(value.data(), value.size());
                   if (!regex.Match(text, 0, text.size(), re2::RE2::ANCHOR_BOTH, groups.data(),
                                    static_cast<int>(groups.size()))) {
                     return std::nullopt;
                   }
                   return replacement.expand(groups);
                 });
}

Result<Block> label_join(Evaluator& evaluator, const Call& call) {
  const std::string& destination = text_of(call, 1);
  const std::string& separator = text_of(call, 2);
  for (std::size_t i = 3; i < call.arguments.size(); ++i) {
    if (Status name = check_label_name(text_of(call, i), "source", "label_join"); !name) {
      return std::unexpected(std::move(name).error());
    }
  }
  if (Status name = check_label_name(destination, "destination", "label_join"); !name) {
    return std::unexpected(std::move(name).error());
  }
  auto block = evaluator.evaluate(*call.arguments.front());
  if (!block) return block;
  return relabel(evaluator, std::move(*block), destination,
                 [&](const Row& row) -> std::optional<std::string> {
                   std::string value;
                   for (std::size_t i = 3; i < call.arguments.size(); ++i) {
                     if (i > 3) value += separator;
                     value += label_of(row, text_of(call, i));
                   }
                   return value;
                 });
}

}  // namespace nexus::knowledge::promql

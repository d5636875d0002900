#include "monitor/scrape/relabel.hpp"

#include <openssl/evp.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

enum class Action {
  kReplace,
  kKeep,
  kDrop,
  kKeepEqual,
  kDropEqual,
  kHashmod,
  kLabelmap,
  kLabeldrop,
  kLabelkeep,
  kLowercase,
  kUppercase
};

Action action_of(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Action>, 11> kActions = {{
      {"replace", Action::kReplace},
      {"keep", Action::kKeep},
      {"drop", Action::kDrop},
      {"keepequal", Action::kKeepEqual},
      {"dropequal", Action::kDropEqual},
      {"hashmod", Action::kHashmod},
      {"labelmap", Action::kLabelmap},
      {"labeldrop", Action::kLabeldrop},
      {"labelkeep", Action::kLabelkeep},
      {"lowercase", Action::kLowercase},
      {"uppercase", Action::kUppercase},
  }};
  const auto found = std::ranges::find(kActions, name, &decltype(kActions)::value_type::first);
  return found == kActions.end() ? Action::kReplace : found->second;
}

using Groups = std::vector<re2::StringPiece>;

bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

/// The value of $name or $1; what the expression does not have is empty.
std::string_view group_of(const re2::RE2& regex, const Groups& groups, std::string_view name) {
  std::size_t index = groups.size();
  if (const auto number = base::parse_uint(name)) {
    index = *number;
  } else if (const auto found = regex.NamedCapturingGroups().find(std::string(name));
             found != regex.NamedCapturingGroups().end()) {
    index = static_cast<std::size_t>(found->second);
  }
  if (index >= groups.size()) return {};
  return {groups[index].data(), groups[index].size()};
}

/// Go's Regexp.Expand.
std::string expand(const re2::RE2& regex, const Groups& groups, std::string_view pattern) {
  std::string out;
  while (!pattern.empty()) {
    const auto dollar = pattern.find('$');
    out += pattern.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    pattern.remove_prefix(dollar + 1);
    if (pattern.starts_with('$')) {
      out += '$';
      pattern.remove_prefix(1);
      continue;
    }
    const bool braced = pattern.starts_with('{');
    auto rest = pattern.substr(braced ? 1 : 0);
    std::size_t length = 0;
    while (length < rest.size() && is_name_character(rest[length])) ++length;
    if (length == 0 || (braced && (length == rest.size() || rest[length] != '}'))) {
      out += '$';  // malformed: as it is
      continue;
    }
    out += group_of(regex, groups, rest.substr(0, length));
    pattern = rest.substr(length + (braced ? 1 : 0));
  }
  return out;
}

/// As Prometheus: the last 8 bytes of MD5.
std::uint64_t hash_of(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_md5(), nullptr);
  std::uint64_t value = 0;
  for (std::size_t i = 8; i < 16; ++i) value = value << 8 | digest[i];
  return value;
}

bool is_label(std::string_view name) {
  return !name.empty() && base::is_valid_utf8(name);
}

std::string in_case(std::string text, int (*convert)(int)) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) c = static_cast<char>(convert(byte));
  }
  return text;
}

}  // namespace

struct Relabeling::Step {
  config::RelabelConfig config;
  Action action;
  re2::RE2 regex;

  Step(const config::RelabelConfig& given, const re2::RE2::Options& options)
      : config(given),
        action(action_of(given.action)),
        regex("^(?s:" + given.regex + ")$", options) {}

  [[nodiscard]] bool matches(std::string_view text, Groups* groups = nullptr) const {
    const re2::StringPiece piece(text.data(), text.size());
    if (groups == nullptr)
      return regex.Match(piece, 0, text.size(), re2::RE2::ANCHOR_BOTH, nullptr, 0);
    groups->resize(static_cast<std::size_t>(regex.NumberOfCapturingGroups()) + 1);
    return regex.Match(piece, 0, text.size(), re2::RE2::ANCHOR_BOTH, groups->data(),
                       static_cast<int>(groups->size()));
  }
  [[nodiscard]] std::string source(const LabelList& labels) const {
    std::string out;
    for (std::size_t i = 0; i < config.source_labels.size(); ++i) {
      if (i > 0) out += config.separator;
      out += label_of(labels, config.source_labels[i]);
    }
    return out;
  }
  void replace(LabelList& labels, const std::string& value) const {
    Groups groups;
    if (!matches(value, &groups)) return;
    const auto target = expand(regex, groups, config.target_label);
    if (is_label(target)) set_label(labels, target, expand(regex, groups, config.replacement));
  }
  void map(LabelList& labels) const {
    const LabelList before = labels;
    for (const auto& label : before) {
      Groups groups;
      if (!matches(label.name, &groups)) continue;
      const auto name = expand(regex, groups, config.replacement);
      if (is_label(name)) set_label(labels, name, label.value);
    }
  }
};

std::string_view label_of(const LabelList& labels, std::string_view name) noexcept {
  for (const auto& label : labels) {
    if (label.name == name) return label.value;
  }
  return {};
}

void set_label(LabelList& labels, std::string_view name, std::string value) {
  const auto found = std::ranges::find(labels, name, &knowledge::Label::name);
  if (value.empty()) {
    if (found != labels.end()) labels.erase(found);
  } else if (found != labels.end()) {
    found->value = std::move(value);
  } else {
    labels.push_back({std::string(name), std::move(value)});
  }
}

Result<Relabeling> Relabeling::compile(const std::vector<config::RelabelConfig>& steps) {
  Relabeling out;
  re2::RE2::Options options;
  options.set_log_errors(false);
  for (const auto& config : steps) {
    auto step = std::make_shared<Step>(config, options);
    if (!step->regex.ok()) {
      return fail(Errc::kInvalidArgument, "regex: \"{}\": {}", config.regex, step->regex.error());
    }
    out.steps_.push_back(std::move(step));
  }
  return out;
}

bool Relabeling::apply(LabelList& labels) const {
  for (const auto& step : steps_) {
    const auto& config = step->config;
    const auto value = step->source(labels);
    switch (step->action) {
      case Action::kReplace:
        step->replace(labels, value);
        break;
      case Action::kKeep:
        if (!step->matches(value)) return false;
        break;
      case Action::kDrop:
        if (step->matches(value)) return false;
        break;
      case Action::kKeepEqual:
        if (label_of(labels, config.target_label) != value) return false;
        break;
      case Action::kDropEqual:
        if (label_of(labels, config.target_label) == value) return false;
        break;
      case Action::kHashmod:
        set_label(labels, config.target_label, std::to_string(hash_of(value) % config.modulus));
        break;
      case Action::kLabelmap:
        step->map(labels);
        break;
      case Action::kLabeldrop:
        std::erase_if(labels, [&](const auto& label) { return step->matches(label.name); });
        break;
      case Action::kLabelkeep:
        std::erase_if(labels, [&](const auto& label) { return !step->matches(label.name); });
        break;
      case Action::kLowercase:
        set_label(labels, config.target_label, in_case(value, std::tolower));
        break;
      case Action::kUppercase:
        set_label(labels, config.target_label, in_case(value, std::toupper));
        break;
    }
  }
  return true;
}

}  // namespace nexus::monitor

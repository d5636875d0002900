#include "analyze/rules/yaml.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "nexus/base/text.hpp"

namespace nexus::analyze::yaml {
namespace {

constexpr std::string_view kNonSpecific = "!";  // a quoted scalar

bool is_null(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return true;
  if (!node.IsScalar() || node.Tag() == kNonSpecific) return false;
  const auto& text = node.Scalar();
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

/// The short tag that YAML gives a node, as Go's messages show it.
std::string_view tag_of(const YAML::Node& node) {
  if (node.IsMap()) return "!!map";
  if (node.IsSequence()) return "!!seq";
  if (is_null(node)) return "!!null";
  const auto& text = node.Scalar();
  if (node.Tag() == kNonSpecific) return "!!str";
  if (base::parse_int(text)) return "!!int";
  const bool number = text.find_first_of("iInN") == std::string::npos;  // -Inf is a text
  if (number && base::parse_double(text)) return "!!float";
  if (text == "true" || text == "false") return "!!bool";
  return "!!str";
}

std::string shown(const YAML::Node& node) {
  if (!node.IsScalar()) return std::string(tag_of(node));
  const auto& text = node.Scalar();
  return fmt::format("{} `{}`", tag_of(node), text.size() > 10 ? text.substr(0, 7) + "..." : text);
}

}  // namespace

Place place_of(const YAML::Node& node) {
  if (!node.IsDefined()) return {};
  const auto mark = node.Mark();
  return mark.is_null() ? Place{} : Place{mark.line + 1, mark.column + 1};
}

Status visit(const std::string& text, const std::function<void(const YAML::Node&)>& visit) {
  try {
    visit(YAML::Load(text));
    return {};
  } catch (const YAML::Exception& exception) {
    return fail(Errc::kInvalidArgument, "yaml: line {}: {}", exception.mark.line + 1,
                exception.msg);
  }
}

void Reader::mistake(const YAML::Node& node, std::string_view what) {
  const int line = place_of(node).line;
  if (line_ == 0) line_ = line;
  mistakes_.push_back(fmt::format("line {}: {}", line, what));
}

void Reader::wrong_type(const YAML::Node& node, std::string_view type) {
  mistake(node, fmt::format("cannot unmarshal {} into {}", shown(node), type));
}

void Reader::object(const YAML::Node& node, std::string_view type,
                    std::initializer_list<Field> fields) {
  if (is_null(node)) return;
  if (!node.IsMap()) return wrong_type(node, type);
  std::map<std::string, int> lines;
  for (const auto& entry : node) {
    const auto key = entry.first.IsScalar() ? entry.first.Scalar() : std::string();
    const auto [first, fresh] = lines.emplace(key, place_of(entry.first).line);
    if (!fresh) {
      mistake(entry.first,
              fmt::format("mapping key \"{}\" already defined at line {}", key, first->second));
      continue;
    }
    const auto* const known = std::ranges::find(fields, key, &Field::key);
    if (known != fields.end()) {
      known->read(entry.second);
    } else if (unknown_ == UnknownKeys::kMistakes) {
      mistake(entry.first, fmt::format("field {} not found in type {}", key, type));
    }
  }
}

void Reader::list(const YAML::Node& node, std::string_view element_type,
                  const std::function<void(const YAML::Node&)>& read) {
  if (is_null(node)) return;
  if (!node.IsSequence()) return wrong_type(node, fmt::format("[]{}", element_type));
  for (const auto& element : node) read(element);
}

void Reader::text(const YAML::Node& node, std::string& out) {
  if (is_null(node)) return;
  if (!node.IsScalar()) return wrong_type(node, "string");
  out = node.Scalar();
}

void Reader::texts(const YAML::Node& node, std::vector<std::string>& out) {
  list(node, "string", [&](const YAML::Node& element) { text(element, out.emplace_back()); });
}

void Reader::map(const YAML::Node& node, config::StringMap& out) {
  if (is_null(node)) return;
  if (!node.IsMap()) return wrong_type(node, "map[string]string");
  std::map<std::string, int> lines;
  for (const auto& entry : node) {
    std::string key;
    text(entry.first, key);
    const auto [first, fresh] = lines.emplace(key, place_of(entry.first).line);
    if (!fresh) {
      mistake(entry.first,
              fmt::format("mapping key \"{}\" already defined at line {}", key, first->second));
      continue;
    }
    text(entry.second, out[key]);
  }
}

void Reader::integer(const YAML::Node& node, std::int64_t& out) {
  if (is_null(node)) return;
  const auto value = node.IsScalar() ? base::parse_int(node.Scalar()) : std::nullopt;
  if (!value) return wrong_type(node, "int");
  out = *value;
}

void Reader::number(const YAML::Node& node, double& out) {
  if (is_null(node)) return;
  if (!node.IsScalar()) return wrong_type(node, "float64");
  std::string_view written = node.Scalar();
  // YAML's own spellings of what base::parse_double calls Inf and NaN.
  if (written.ends_with(".inf") || written.ends_with(".Inf") || written.ends_with(".INF")) {
    out = written.starts_with('-') ? -std::numeric_limits<double>::infinity()
                                   : std::numeric_limits<double>::infinity();
  } else if (written == ".nan" || written == ".NaN" || written == ".NAN") {
    out = std::numeric_limits<double>::quiet_NaN();
  } else if (const auto value = base::parse_double(written);
             value && written.find_first_of("iInN") == std::string_view::npos) {
    out = *value;
  } else {
    wrong_type(node, "float64");
  }
}

void Reader::boolean(const YAML::Node& node, bool& out) {
  if (is_null(node)) return;
  const std::string_view written = node.IsScalar() ? std::string_view(node.Scalar()) : "";
  if (written == "true" || written == "True" || written == "TRUE") {
    out = true;
  } else if (written == "false" || written == "False" || written == "FALSE") {
    out = false;
  } else {
    wrong_type(node, "bool");
  }
}

void Reader::duration(const YAML::Node& node, Millis& out) {
  std::string written;
  const auto before = mistakes_.size();
  text(node, written);
  if (is_null(node) || mistakes_.size() != before) return;
  // A bare number is a duration for the agent, but not for Prometheus; 0 is for both.
  const bool bare = base::parse_double(written).has_value() && written != "0";
  const auto value = base::parse_duration(written);
  if (value && !bare) {
    out = *value;
  } else if (fatal_.empty()) {
    if (line_ == 0) line_ = place_of(node).line;
    fatal_ = written.empty() ? "empty duration string"
                             : fmt::format("not a valid duration string: \"{}\"", written);
  }
}

std::string Reader::message() const {
  if (!fatal_.empty()) return fatal_;
  if (mistakes_.empty()) return {};
  std::string out = "yaml: unmarshal errors:";
  for (const auto& mistake : mistakes_) out += "\n  " + mistake;
  return out;
}

}  // namespace nexus::analyze::yaml

#include "analyze/templates/value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "analyze/templates/functions.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze::templates {
namespace {

constexpr std::array<std::string_view, 11> kTypes = {
    "nil",
    "bool",
    "int",
    "float64",
    "string",
    "map[string]string",
    "*template.sample",
    "template.queryResult",
    "map[string]interface {}",
    "struct",
    "*time.Time",
};

std::string show_map(const StringMap& map) {
  std::string out = "map[";
  for (const auto& [key, value] : map)
    out += fmt::format("{}{}:{}", out.size() > 4 ? " " : "", key, value);
  return out + "]";
}

struct Printer {
  std::string operator()(const Nothing&) const { return "<no value>"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return base::go_value(value); }
  std::string operator()(const std::string& value) const { return value; }
  std::string operator()(const StringMap& value) const { return show_map(value); }
  std::string operator()(const SamplePtr& value) const {
    return fmt::format("{{{} {}}}", show_map(value->labels), base::go_value(value->value));
  }
  std::string operator()(const Samples& value) const {
    std::string out = "[";
    for (const auto& sample : value) out += (out.size() > 1 ? " " : "") + (*this)(sample);
    return out + "]";
  }
  std::string operator()(const std::shared_ptr<const Arguments>& value) const {
    std::string out = "map[";
    for (const auto& [key, item] : *value)
      out += fmt::format("{}{}:{}", out.size() > 4 ? " " : "", key, show(item));
    return out + "]";
  }
  std::string operator()(const Root& value) const {
    return fmt::format("{{{} {} {} {}}}", show_map(value.data->labels),
                       show_map(value.data->external_labels), value.data->external_url,
                       base::go_value(value.data->value));
  }
  std::string operator()(WallTime value) const { return show_time(value); }
};

constexpr int kDeepest = 50;  // args in args: show() calls itself as often

std::size_t size_of(const StringMap& map) {
  std::size_t size = 0;
  for (const auto& [key, value] : map) size += key.size() + value.size() + 2;
  return size;
}

std::size_t weigh(const Value& value, std::size_t enough, int depth) {
  if (const auto* text = value.as<std::string>()) return text->size();
  if (const auto* map = value.as<StringMap>()) return size_of(*map);
  if (const auto* sample = value.as<SamplePtr>()) return size_of((*sample)->labels) + 8;
  std::size_t size = 8;
  if (const auto* samples = value.as<Samples>()) {
    for (const auto& sample : *samples) size += size_of(sample->labels) + 8;
  } else if (const auto* arguments = value.as<std::shared_ptr<const Arguments>>()) {
    if (depth >= kDeepest) return enough + 1;
    for (const auto& [key, item] : **arguments) {
      if (size > enough) break;
      size += key.size() + weigh(item, enough - size, depth + 1);
    }
  }
  return size;
}

struct Truth {
  bool operator()(const Nothing&) const { return false; }
  bool operator()(bool value) const { return value; }
  bool operator()(std::int64_t value) const { return value != 0; }
  bool operator()(double value) const { return value != 0; }  // NaN is true, as in Go
  bool operator()(const std::string& value) const { return !value.empty(); }
  bool operator()(const StringMap& value) const { return !value.empty(); }
  bool operator()(const SamplePtr& value) const { return value != nullptr; }
  bool operator()(const Samples& value) const { return !value.empty(); }
  bool operator()(const std::shared_ptr<const Arguments>& value) const { return !value->empty(); }
  bool operator()(const Root&) const { return true; }
  bool operator()(WallTime) const { return true; }
};

/// Flags, width and precision of a verb: "%-8.3f".
struct Verb {
  std::string flags;
  std::optional<std::size_t> width;
  std::optional<int> precision;
  char letter = 0;
};

constexpr std::size_t kMaxWidth = 1000;

std::optional<std::size_t> take_number(std::string_view& rest) {
  const auto digits = rest.substr(0, rest.find_first_not_of("0123456789"));
  rest.remove_prefix(digits.size());
  const auto number = base::parse_uint(digits);
  if (!number) return std::nullopt;
  return std::min<std::size_t>(*number, kMaxWidth);
}

Verb take_verb(std::string_view& rest) {
  Verb verb;
  while (!rest.empty() && std::string_view("+-# 0").contains(rest.front())) {
    verb.flags += rest.front();
    rest.remove_prefix(1);
  }
  verb.width = take_number(rest);
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    verb.precision = static_cast<int>(take_number(rest).value_or(0));
  }
  if (!rest.empty()) {
    verb.letter = rest.front();
    rest.remove_prefix(1);
  }
  return verb;
}

std::string sign_of(const Verb& verb, bool negative) {
  if (negative) return "-";
  if (verb.flags.contains('+')) return "+";
  return verb.flags.contains(' ') ? " " : "";
}

std::string padded(const Verb& verb, std::string text, bool number) {
  const std::size_t length = text.size();
  if (!verb.width || length >= *verb.width) return text;
  const std::size_t missing = *verb.width - length;
  if (verb.flags.contains('-')) return text + std::string(missing, ' ');
  if (number && verb.flags.contains('0')) {
    const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
    return text.insert(sign, missing, '0');
  }
  return std::string(missing, ' ') + text;
}

std::optional<std::string> format_float(const Verb& verb, double value) {
  if (!std::isfinite(value)) return base::go_value(value);
  const double size = std::abs(value);
  const std::string sign = sign_of(verb, std::signbit(value));
  const int digits = verb.precision.value_or(6);
  switch (verb.letter) {
    case 'f':
    case 'F':
      return fmt::format("{}{:.{}f}", sign, size, digits);
    case 'e':
      return fmt::format("{}{:.{}e}", sign, size, digits);
    case 'E':
      return fmt::format("{}{:.{}E}", sign, size, digits);
    case 'g':
    case 'v':
      return sign +
             (verb.precision ? base::go_general(size, std::max(1, digits)) : base::go_value(size));
    case 'G':
      return fmt::format("{}{:.{}G}", sign, size, verb.precision.value_or(17));
    default:
      return std::nullopt;
  }
}

std::optional<std::string> format_integer(const Verb& verb, std::int64_t value) {
  const auto size =
      value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  const std::string sign = sign_of(verb, value < 0);
  switch (verb.letter) {
    case 'd':
    case 'v':
      return fmt::format("{}{}", sign, size);
    case 'x':
      return fmt::format("{}{:x}", sign, size);
    case 'X':
      return fmt::format("{}{:X}", sign, size);
    case 'o':
      return fmt::format("{}{:o}", sign, size);
    case 'b':
      return fmt::format("{}{:b}", sign, size);
    default:
      return std::nullopt;
  }
}

std::optional<std::string> format_text(const Verb& verb, std::string_view text) {
  if (verb.precision) text = text.substr(0, static_cast<std::size_t>(*verb.precision));
  switch (verb.letter) {
    case 's':
    case 'v':
      return std::string(text);
    case 'q':
      return base::go_quoted(text);
    case 'x': {
      std::string out;
      for (const char c : text) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
      return out;
    }
    default:
      return std::nullopt;
  }
}

std::string format_one(const Verb& verb, const Value& value) {
  std::optional<std::string> text;
  bool number = false;
  if (const auto* real = value.as<double>()) {
    text = format_float(verb, *real);
    number = std::isfinite(*real);
  } else if (const auto* integer = value.as<std::int64_t>()) {
    text = format_integer(verb, *integer);
    number = true;
  } else if (const auto* string = value.as<std::string>()) {
    text = format_text(verb, *string);
  } else if (const auto* flag = value.as<bool>()) {
    if (verb.letter == 't' || verb.letter == 'v') text = *flag ? "true" : "false";
  } else if (verb.letter == 'v' || verb.letter == 's') {
    text = value.as<Nothing>() != nullptr ? "<nil>" : show(value);
  }
  if (!text) return fmt::format("%!{}({}={})", verb.letter, type_name(value), show(value));
  return padded(verb, std::move(*text), number);
}

}  // namespace

std::string_view type_name(const Value& value) {
  return kTypes[value.held.index()];
}

bool truth(const Value& value) {
  return std::visit(Truth{}, value.held);
}

std::string show(const Value& value) {
  return std::visit(Printer{}, value.held);
}

std::size_t weight(const Value& value, std::size_t enough) {
  return weigh(value, enough, 0);
}

std::string format(std::string_view format, std::span<const Value> arguments) {
  std::string out;
  std::size_t next = 0;
  while (true) {
    const auto percent = format.find('%');
    out += format.substr(0, percent);
    if (percent == std::string_view::npos) break;
    format.remove_prefix(percent + 1);
    const Verb verb = take_verb(format);
    if (verb.letter == '%') {
      out += '%';
    } else if (verb.letter == 0) {
      out += "%!(NOVERB)";
    } else if (next >= arguments.size()) {
      out += fmt::format("%!{}(MISSING)", verb.letter);
    } else {
      out += format_one(verb, arguments[next++]);
    }
  }
  if (next < arguments.size()) {
    out += "%!(EXTRA ";
    for (std::size_t i = next; i < arguments.size(); ++i) {
      if (i > next) out += ", ";
      out += fmt::format("{}={}", type_name(arguments[i]), show(arguments[i]));
    }
    out += ")";
  }
  return out;
}

}  // namespace nexus::analyze::templates

#include "nexus/knowledge/names.hpp"

#include <fmt/format.h>

#include <iterator>

#include "nexus/base/text.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::string_view kValuesPrefix = "U__";
constexpr std::uint32_t kReplacement = 0xfffd;
constexpr std::uint32_t kMaxCodePoint = 0x10ffff;

bool is_legacy(char c, bool first, bool colon) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':') ||
         (!first && c >= '0' && c <= '9');
}

bool is_legacy(std::string_view name, bool colon) noexcept {
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!is_legacy(name[i], i == 0, colon)) return false;
  }
  return !name.empty();
}

/// Takes a character off the front of valid UTF-8.
std::uint32_t take_code_point(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  std::uint32_t point = size == 1 ? lead : lead & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size && i < text.size(); ++i) {
    point = point << 6 | (static_cast<unsigned char>(text[i]) & 0x3fU);
  }
  text.remove_prefix(std::min(size, text.size()));
  return point;
}

void append_utf8(std::string& out, std::uint32_t point) {
  const auto tail = [&](unsigned shift) {
    out += static_cast<char>(0x80U | ((point >> shift) & 0x3fU));
  };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xc0U | (point >> 6));
    tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xe0U | (point >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0U | (point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

/// The end of what stands in quotes from `begin` on (a quote), behind its closing quote.
std::size_t end_of_quoted(std::string_view text, std::size_t begin) {
  for (std::size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

std::string unquoted(std::string_view quoted) {
  std::string out;
  for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
    if (quoted[i] == '\\') ++i;
    out += quoted[i] == 'n' && quoted[i - 1] == '\\' ? '\n' : quoted[i];
  }
  return out;
}

/// `name{a="b"} value` or `{"name","a b"="c"} value`, its names escaped.
void append_sample(std::string& out, std::string_view line, NameEscaping escaping) {
  const std::size_t brace = line.find_first_of(" {");
  if (brace == std::string_view::npos) {
    out += line;
    return;
  }
  std::string labels;
  std::string metric = escape_name(line.substr(0, brace), escaping);
  std::size_t at = brace;
  if (line[brace] == '{') {
    ++at;
    while (at < line.size() && line[at] != '}') {
      std::string name;
      if (line[at] == '"') {
        const std::size_t end = end_of_quoted(line, at);
        name = unquoted(line.substr(at, end - at));
        at = end;
      } else {
        const std::size_t end = std::min(line.find('=', at), line.size());
        name = line.substr(at, end - at);
        at = end;
      }
      if (at < line.size() && line[at] == '=') {
        const std::size_t end = end_of_quoted(line, at + 1);
        if (!labels.empty()) labels += ',';
        labels += escape_name(name, escaping);
        labels += line.substr(at, end - at);
        at = end;
      } else {
        metric = escape_name(name, escaping);
      }
      if (at < line.size() && line[at] == ',') ++at;
    }
    ++at;
  }
  out += metric;
  if (!labels.empty()) out.append("{").append(labels).append("}");
  out += line.substr(std::min(at, line.size()));
}

/// `# HELP name ...`, `# TYPE "a name" ...`
void append_comment(std::string& out, std::string_view line, NameEscaping escaping) {
  constexpr std::size_t kWord = 7;  // "# HELP ", "# TYPE "
  const bool named = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
  if (!named) {
    out += line;
    return;
  }
  out += line.substr(0, kWord);
  const bool is_quoted = line.size() > kWord && line[kWord] == '"';
  const std::size_t end =
      is_quoted ? end_of_quoted(line, kWord) : std::min(line.find(' ', kWord), line.size());
  const auto name = line.substr(kWord, end - kWord);
  out += escape_name(is_quoted ? unquoted(name) : std::string(name), escaping);
  out += line.substr(end);
}

}  // namespace

bool is_legacy_metric_name(std::string_view name) noexcept {
  return is_legacy(name, true);
}
bool is_legacy_label_name(std::string_view name) noexcept {
  return is_legacy(name, false);
}

std::string_view to_string(NameEscaping escaping) noexcept {
  switch (escaping) {
    case NameEscaping::kAllowUtf8:
      return "allow-utf-8";
    case NameEscaping::kUnderscores:
      return "underscores";
    case NameEscaping::kDots:
      return "dots";
    case NameEscaping::kValues:
      return "values";
  }
  return "underscores";
}

std::optional<NameEscaping> parse_name_escaping(std::string_view word) noexcept {
  for (const auto escaping : {NameEscaping::kAllowUtf8, NameEscaping::kUnderscores,
                              NameEscaping::kDots, NameEscaping::kValues}) {
    if (word == to_string(escaping)) return escaping;
  }
  return std::nullopt;
}

std::string escape_name(std::string_view name, NameEscaping escaping) {
  const bool changes = escaping != NameEscaping::kAllowUtf8 &&
                       (escaping == NameEscaping::kDots || !is_legacy_metric_name(name));
  if (name.empty() || !changes) return std::string(name);
  std::string out(escaping == NameEscaping::kValues ? kValuesPrefix : std::string_view());
  const bool doubles = escaping != NameEscaping::kUnderscores;
  for (bool first = true; !name.empty(); first = false) {
    const char c = name.front();
    const std::uint32_t point = take_code_point(name);
    if (c == '_' && doubles) {
      out += "__";
    } else if (is_legacy(c, first, true)) {
      out += c;
    } else if (escaping == NameEscaping::kUnderscores) {
      out += '_';
    } else if (escaping == NameEscaping::kDots) {
      out += c == '.' ? "_dot_" : "__";
    } else {
      fmt::format_to(std::back_inserter(out), "_{:X}_", point);
    }
  }
  return out;
}

std::optional<std::string> unescape_name(std::string_view name) {
  if (!name.starts_with(kValuesPrefix)) return std::nullopt;
  name.remove_prefix(kValuesPrefix.size());
  std::string out;
  while (!name.empty()) {
    if (name.front() != '_') {
      out += name.front();
      name.remove_prefix(1);
      continue;
    }
    name.remove_prefix(1);
    if (name.starts_with('_')) {
      out += '_';
      name.remove_prefix(1);
      continue;
    }
    const auto digits = name.substr(0, name.find('_'));
    const auto point = base::parse_uint(digits, 16);
    const bool valid = point && digits.size() < name.size() && digits.size() <= 6 &&
                       *point <= kMaxCodePoint && (*point < 0xd800 || *point > 0xdfff);
    if (!valid) return std::nullopt;
    append_utf8(out, static_cast<std::uint32_t>(*point == 0 ? kReplacement : *point));
    name.remove_prefix(digits.size() + 1);
  }
  return out;
}

std::string escape_names(std::string_view page, NameEscaping escaping) {
  std::string out;
  out.reserve(page.size());
  while (!page.empty()) {
    const auto line = base::take_until(page, '\n');
    if (line.starts_with('#')) {
      append_comment(out, line, escaping);
    } else {
      append_sample(out, line, escaping);
    }
    out += '\n';
  }
  return out;
}

}  // namespace nexus::knowledge

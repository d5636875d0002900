#include "monitor/parse.hpp"

#include <algorithm>

namespace nexus::monitor {
namespace {

constexpr std::size_t kShownBytes = 40;  // of what was found instead

std::string shown(std::string_view found) {
  std::string text = base::sanitize_utf8(found.substr(0, kShownBytes));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  if (found.size() > kShownBytes) text += "...";
  return text;
}

}  // namespace

void Complaints::add(std::string_view path, std::size_t line, std::string_view expected,
                     std::string_view found) {
  if (count_++ > 0) return;
  if (found.empty()) {
    first_ = fmt::format("{}: line {}: expected {}, found nothing", path, line, expected);
  } else {
    first_ =
        fmt::format("{}: line {}: expected {}, found \"{}\"", path, line, expected, shown(found));
  }
}

void Complaints::add(std::string_view path, std::string_view what) {
  if (count_++ == 0) first_ = fmt::format("{}: {}", path, what);
}

void Complaints::add(const Error& error) {
  if (count_++ == 0) first_ = error.message();
}

Status Complaints::take() {
  if (count_ == 0) return {};
  const std::size_t others = std::exchange(count_, 0) - 1;
  const std::string first = std::exchange(first_, {});
  if (others == 0) return fail(Errc::kCorrupt, "{}", first);
  return fail(Errc::kCorrupt, "{} (and {} more)", first, others);
}

bool is_name_part(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace nexus::monitor

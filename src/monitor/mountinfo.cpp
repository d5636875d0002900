#include "monitor/mountinfo.hpp"

#include "monitor/parse.hpp"

namespace nexus::monitor {
namespace {

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty()) {
    if (base::take_until(options, ',') == wanted) return true;
  }
  return false;
}

}  // namespace

std::string unescape_octal(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  const auto digit = [&](std::size_t i) {
    return i < text.size() && text[i] >= '0' && text[i] <= '7';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape =
        text[i] == '\\' && digit(i + 1) && text[i + 1] <= '3' && digit(i + 2) && digit(i + 3);
    if (!is_escape) {
      plain += text[i];
      continue;
    }
    plain +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

std::optional<Mount> parse_mountinfo_line(std::string_view line) {
  // 36 35 98:0 /root /mountpoint rw,noatime master:1 - ext3 /dev/root rw,errors=continue
  Mount mount;
  constexpr int kFieldsBeforeMountpoint = 4;
  constexpr int kDeviceNumber = 2;
  for (int i = 0; i < kFieldsBeforeMountpoint; ++i) {
    std::string_view word = next_word(line);
    if (word.empty()) return std::nullopt;
    if (i != kDeviceNumber) continue;
    mount.major = base::take_until(word, ':');
    mount.minor = word;
  }
  mount.mountpoint = unescape_octal(next_word(line));
  const std::string_view options = next_word(line);
  std::string_view word = next_word(line);
  while (!word.empty() && word != "-") word = next_word(line);  // optional fields
  mount.fstype = unescape_octal(next_word(line));
  mount.device = unescape_octal(next_word(line));
  const std::string_view super_options = next_word(line);
  if (mount.mountpoint.empty() || mount.fstype.empty() || mount.device.empty()) return std::nullopt;
  mount.readonly = has_option(options, "ro") || has_option(super_options, "ro");
  mount.project_quota =
      has_option(super_options, "prjquota") || has_option(super_options, "pquota");
  return mount;
}

}  // namespace nexus::monitor

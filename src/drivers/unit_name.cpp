#include <algorithm>
#include <array>

#include "nexus/drivers/systemd.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kMaxName = 255;
constexpr std::array<std::string_view, 11> kSuffixes = {
    ".service", ".socket", ".target", ".timer", ".mount",    ".path",
    ".slice",   ".scope",  ".device", ".swap",  ".automount"};

bool may_stand_in_a_name(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view(":-_.\\@").contains(c);
}

}  // namespace

Result<std::string> normalize_unit_name(std::string_view name) {
  const auto refuse = [name](std::string_view why) {
    return fail(Errc::kInvalidArgument, "unit name \"{}\": {}", name, why);
  };
  if (name.empty()) return refuse("is empty");
  if (!std::ranges::all_of(name, may_stand_in_a_name)) {
    return refuse("only letters, digits and : - _ . \\ @ may stand in it");
  }
  const auto* suffix =
      std::ranges::find_if(kSuffixes, [name](auto each) { return name.ends_with(each); });
  std::string full(name);
  if (suffix == kSuffixes.end()) full += ".service";
  if (full.size() > kMaxName) return refuse("is longer than 255 bytes");
  const std::string_view stem(full.data(), full.rfind('.'));
  if (stem.empty() || stem.starts_with('@'))
    return refuse("nothing stands before its type or its @");
  if (stem.ends_with('@'))
    return refuse("is a template; an instance is needed, such as getty@tty1.service");
  return full;
}

}  // namespace nexus::drivers

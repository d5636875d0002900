#include "nexus/config/name_space.hpp"

#include <algorithm>

namespace nexus::config {

bool is_name_space(std::string_view text) {
  constexpr std::size_t kLongest = 63;
  return !text.empty() && text.size() <= kLongest && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

bool is_protected_name_space(std::string_view name_space) {
  return name_space == "kube-system" || name_space == "kube-public" ||
         name_space == "kube-node-lease";
}

}  // namespace nexus::config

// Namespaces of Kubernetes: what can be one, and which are protected. Thread safety: pure
// functions.
#pragma once

#include <string_view>

namespace nexus::config {

/// A DNS label: at most 63 lower-case letters, digits and '-', none of these at an end.
[[nodiscard]] bool is_name_space(std::string_view text);
/// Kubernetes itself lives in it (kube-system, ...): no configuration opens it to actions.
[[nodiscard]] bool is_protected_name_space(std::string_view name_space);

}  // namespace nexus::config

// Quantities of Kubernetes as parameters of actions ("requests.cpu=8", "memory=512Mi", "pods=-" to
// take one away) and as evidence. Thread safety: pure functions.
#pragma once

#include <boost/json.hpp>
#include <string_view>

#include "nexus/config/values.hpp"
#include "nexus/drivers/kubernetes_control.hpp"

namespace nexus::execute {

/// From a parameter that is a list of NAME=QUANTITY; empty when it is not given.
[[nodiscard]] Result<drivers::QuantityChanges> quantities_of(const config::Parameters& parameters,
                                                             std::string_view name);
/// Whether all changes are so in `now`.
[[nodiscard]] bool are_so(const drivers::QuantityChanges& changes,
                          const drivers::QuantityTexts& now);
/// What brings back what `before` (a JSON object of texts, or null) says of the changed entries.
[[nodiscard]] drivers::QuantityChanges back_to(const drivers::QuantityChanges& changes,
                                               const boost::json::value* before);
[[nodiscard]] boost::json::object to_json(const drivers::QuantityTexts& texts);
/// "requests.cpu to 8, pods away"
[[nodiscard]] std::string shown(const drivers::QuantityChanges& changes);

}  // namespace nexus::execute

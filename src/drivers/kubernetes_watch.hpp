// Watch: the objects of a collection and every change of them, as the API tells it.
//
// First what there is (a list), then changes from its resourceVersion on. Bookmarks move that
// version on without an event. A watch that ends is begun again from there; one whose version is
// too old by now (410, as an answer or as an event) lists anew, and says so with kReset. Unlike in
// changes, a server that is away is asked again: watching changes nothing. Thread safety: functions
// without state.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <string>

#include "drivers/kubernetes_calls.hpp"

namespace nexus::drivers {

/// kReset comes before each list: what was told before does not count. kListed comes behind its
/// last object. Both have no object.
enum class WatchEvent { kReset, kListed, kPresent, kAdded, kModified, kDeleted };

struct WatchCounts {
  std::uint64_t lists = 0;
  std::uint64_t watches = 0;
  std::uint64_t events = 0;  // bookmarks too
  std::uint64_t bookmarks = 0;
  std::uint64_t expired = 0;  // 410
};

struct WatchRequest {
  std::string path;               // of the collection
  std::string query = {};         // selectors, without a mark in front
  std::string version = {};       // to begin with instead of a list
  Millis turn = Millis(240'000);  // how long one watch lasts at most
};

/// Ends with success when `on_event` gives false, else with kTimeout, kCancelled, or what the API
/// refuses.
[[nodiscard]] Status watch_objects(
    const Kubernetes& api, const WatchRequest& request, const KubernetesPatience& patience,
    const std::function<bool(WatchEvent event, const boost::json::value& object)>& on_event,
    WatchCounts* counts = nullptr);

}  // namespace nexus::drivers

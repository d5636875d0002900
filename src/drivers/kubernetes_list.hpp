// Lists of the Kubernetes API, page by page, and the paths of what is in it.
//
// A page that has expired (410) begins the list anew, once. Thread safety: functions without state.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "nexus/drivers/kubernetes_control.hpp"

namespace nexus::drivers {

struct KubernetesListed {
  std::string version;         // resourceVersion, from which a watch goes on
  std::uint64_t left_out = 0;  // at least so many are beyond the limit
};

/// `query` has selectors, without a mark in front. `clear` is called when the list begins anew:
/// what was added before does not count.
[[nodiscard]] Result<KubernetesListed> list_objects(
    const Kubernetes& api, const std::string& path, std::string query, std::size_t limit,
    const KubernetesPatience& patience,
    const std::function<void(const boost::json::value& item)>& add,
    const std::function<void()>& clear);

/// "/apis/apps/v1/namespaces/shop/deployments"; an empty namespace: of all.
[[nodiscard]] std::string collection(std::string_view group, std::string_view name_space,
                                     std::string_view kind);
/// "fieldSelector=metadata.name%3Dweb"; nothing for an empty value.
[[nodiscard]] std::string selecting(std::string_view field, std::string_view value);

}  // namespace nexus::drivers

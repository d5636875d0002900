// Names of network devices by their index, by rtnetlink.
//
// Thread safety: one thread at a time.
#pragma once

#include <linux/rtnetlink.h>

#include <map>
#include <string>

#include "monitor/netlink.hpp"

namespace nexus::monitor {

using LinkNames = std::map<int, std::string>;

[[nodiscard]] inline Result<LinkNames> link_names(Netlink& netlink) {
  NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP);
  request.put(ifinfomsg{});
  LinkNames names;
  const Status asked = netlink.ask(request, [&](unsigned, Bytes payload) {
    const auto link = read_as<ifinfomsg>(payload);
    if (!link) return;
    for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof(ifinfomsg))),
                       [&](unsigned type, Bytes value) {
                         if (type == IFLA_IFNAME) names[link->ifi_index] = text_of(value);
                       });
  });
  if (!asked) return std::unexpected(asked.error().with_context("links"));
  return names;
}

}  // namespace nexus::monitor

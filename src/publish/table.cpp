// Every receiver has one line here.
#include <algorithm>
#include <array>

#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

constexpr std::array kReceivers = {
    &kLog,   &kWebhook, &kAlertmanager, &kEmail, &kSlack, &kPagerDuty, &kOpsgenie,
    &kTeams, &kDiscord, &kTelegram,     &kNtfy,  &kExec,  &kHeartbeat,
};

}  // namespace

std::span<const ReceiverDescriptor* const> receivers() {
  return kReceivers;
}

const ReceiverDescriptor* find_receiver(std::string_view type) {
  const auto found = std::ranges::find(kReceivers, type, &ReceiverDescriptor::name);
  return found == kReceivers.end() ? nullptr : *found;
}

}  // namespace nexus::publish

// The descriptors of src/publish/receivers, a line each, and what receivers share. Thread safety:
// constants and pure functions.
#pragma once

#include "nexus/drivers/http_client.hpp"
#include "nexus/publish/receiver.hpp"

namespace nexus::publish {

extern const ReceiverDescriptor kLog;
extern const ReceiverDescriptor kWebhook;
extern const ReceiverDescriptor kAlertmanager;
extern const ReceiverDescriptor kEmail;
extern const ReceiverDescriptor kSlack;
extern const ReceiverDescriptor kPagerDuty;
extern const ReceiverDescriptor kOpsgenie;
extern const ReceiverDescriptor kTeams;
extern const ReceiverDescriptor kDiscord;
extern const ReceiverDescriptor kTelegram;
extern const ReceiverDescriptor kNtfy;
extern const ReceiverDescriptor kExec;

// Options that were checked before; the default of the descriptor is given where they are used.
[[nodiscard]] std::string text_option(const config::ReceiverConfig& config, std::string_view name,
                                      std::string_view otherwise = {});
[[nodiscard]] std::vector<std::string> texts_option(const config::ReceiverConfig& config,
                                                    std::string_view name);
[[nodiscard]] bool bool_option(const config::ReceiverConfig& config, std::string_view name,
                               bool otherwise);

/// A POST of JSON to the receiver's address, with its proxy, certificates and time limit; the
/// address is called `shown` wherever it would be told.
[[nodiscard]] drivers::HttpRequest post_request(const config::ReceiverConfig& config,
                                                std::string url, std::string body,
                                                const std::function<bool()>& cancelled);
/// Sends and judges: 2xx is sent; no connection, 408, 429, 401 to 404 and 5xx are tried again; any
/// other status is refused. What the answer says is told, shortened and made printable.
[[nodiscard]] Delivery deliver(const drivers::HttpRequest& request, Clock& clock);
[[nodiscard]] Delivery judge(const drivers::HttpResponse& response, Clock& clock);

}  // namespace nexus::publish

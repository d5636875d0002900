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
extern const ReceiverDescriptor kHeartbeat;

// Options that were checked before; the default of the descriptor is given where they are used.
[[nodiscard]] std::string text_option(const config::ReceiverConfig& config, std::string_view name,
                                      std::string_view otherwise = {});
[[nodiscard]] std::vector<std::string> texts_option(const config::ReceiverConfig& config,
                                                    std::string_view name);
[[nodiscard]] bool bool_option(const config::ReceiverConfig& config, std::string_view name,
                               bool otherwise);

/// The key of a group's incident elsewhere: while it is open, the one under which it was opened,
/// whatever the host and its external labels are called meanwhile.
class IncidentKeys {
 public:
  explicit IncidentKeys(const ReceiverContext& context)
      : memory_(context.memory), host_(context.origin.identity) {}
  [[nodiscard]] std::string of(const std::string& group) const;
  void opened(const std::string& group, const std::string& key) const;
  void closed(const std::string& group) const;

 private:
  const std::shared_ptr<Memory> memory_;
  const std::string host_;
};

/// A POST of JSON to the receiver's address, with its proxy, certificates and time limit; the
/// address is called `shown` wherever it would be told.
[[nodiscard]] drivers::HttpRequest post_request(const config::ReceiverConfig& config,
                                                std::string url, std::string body,
                                                const std::function<bool()>& cancelled);
/// An address as it may be told: without user and password.
[[nodiscard]] std::string without_user(std::string_view url);
/// Sends and judges: 2xx is sent; no connection, 3xx, 401 to 404, 408, 429 and 5xx are tried again;
/// any other status is refused. What the answer says is told, shortened and made printable.
[[nodiscard]] Delivery deliver(const drivers::HttpRequest& request, Clock& clock);
[[nodiscard]] Delivery judge(const drivers::HttpResponse& response, Clock& clock);

/// Of multipart/form-data: a body with one text field and one PNG file, and its Content-Type.
struct Form {
  std::string body;
  std::string content_type;
};
[[nodiscard]] Form form_of(std::span<const std::pair<std::string, std::string>> fields,
                           std::string_view file_field, std::string_view png);
/// The first alert that fires and has a picture; empty: none has one, or the receiver shows none.
[[nodiscard]] std::string chart_of(const Notification& notification,
                                   const ReceiverContext& context);
[[nodiscard]] std::string base64(std::string_view bytes);
/// `text` with what Markdown would read as markup made plain; links stay links.
[[nodiscard]] std::string plain_markdown(std::string_view text);

}  // namespace nexus::publish

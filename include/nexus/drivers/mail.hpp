// One mail over SMTP (libcurl): TLS from the begin, STARTTLS, or none; AUTH as the server offers
// it.
//
// The body has two parts that say the same, text and HTML, quoted-printable; headers are given as
// whole lines. Errors name the server: kUnavailable, kTimeout, kCancelled, kPermissionDenied (the
// login), kConflict (a permanent answer, 5xx: it would be refused again), kInvalidArgument (a line
// break in a header or an address). A 5xx before the message itself was sent is kUnavailable:
// people may mend it. Recipients that the server refuses keep the others from nothing; when it
// refuses all, that is the error. Thread safety: any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::drivers {

enum class MailSecurity { kNone, kStartTls, kTls };

struct Mail {
  std::string server;  // host:port
  MailSecurity security = MailSecurity::kStartTls;
  std::string username;  // empty: no AUTH
  std::string password;
  std::string hello;  // name in EHLO; empty: the host's
  std::string from;   // addresses, without <>
  std::vector<std::string> to;
  std::vector<std::string> headers;  // "Subject: ...", in order
  std::string text;
  std::string html;
  std::string png = {};  // shown where the HTML says cid:chart; empty: none
  Millis timeout{10'000};
  HttpTls tls;
  std::string proxy = {};  // as HttpRequest's; over HTTP proxies by CONNECT
  std::function<bool()> cancelled = {};
  /// Told of each recipient that was refused while others were taken, with the server's answer.
  std::function<void(std::string_view recipient, std::string_view answer)> on_refused = {};
};

[[nodiscard]] Status send_mail(const Mail& mail);

/// A header's value as RFC 2047 wants it: as it is when it is ASCII, in encoded words otherwise.
[[nodiscard]] std::string encode_header(std::string_view text);

}  // namespace nexus::drivers

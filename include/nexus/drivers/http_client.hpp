// An HTTP client over libcurl: one request, one answer, with a time limit.
//
// Errors: kUnavailable (no connection), kTimeout, kExhausted (the answer is larger than max_body),
// kInvalidArgument (bad URL), kCancelled, all naming the URL. A status of 400 or more is an answer,
// not an error. Thread safety: any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// Of https. What is empty is libcurl's default: the certificates that the system trusts, no client
/// certificate. Files and PEM texts of the same thing: the text counts.
struct HttpTls {
  std::string ca_file;
  std::string ca_pem;
  std::string cert_file;
  std::string cert_pem;
  std::string key_file;
  std::string key_pem;
  bool verify = true;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::string unix_socket;  // path; empty for TCP
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  Millis timeout{10'000};
  std::size_t max_body = 64U << 20;
  HttpTls tls;
  /// What errors call the address; empty: the URL. For one that is a secret itself.
  std::string shown = {};
  /// URL of a proxy; empty: what the environment says (https_proxy, no_proxy, ...).
  std::string proxy = {};
  /// Asked about once a second; true ends it with kCancelled.
  std::function<bool()> cancelled = {};
  /// Given the body of a status below 400 piece by piece, as it comes; the answer's body is then
  /// empty. False ends the transfer, which is no error.
  std::function<bool(std::string_view piece)> receive = {};
};

struct HttpResponse {
  unsigned status = 0;
  std::string content_type;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};  // names in lower case
};

[[nodiscard]] Result<HttpResponse> http_request(const HttpRequest& request);

/// `text` percent-encoded for a path part or a query value.
[[nodiscard]] std::string url_encode(std::string_view text);

}  // namespace nexus::drivers

// Fetcher: many HTTP(S) requests at once over libcurl, on the thread of its owner.
//
// Bodies are given as they come, decompressed; whoever takes them may say that it is enough. Each
// request has a time limit for all of it, name resolution included. A status of 400 or more is an
// answer, not an error.
//
// Errors, naming the URL: kUnavailable (no connection, TLS), kTimeout, kExhausted (the taker had
// enough, too many redirects), kInvalidArgument (bad URL, unreadable certificate). Thread safety:
// one thread; wake() by any.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// What is trusted and shown; empty: the system's, the URL's.
struct TlsOptions {
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  std::string server_name;
  bool insecure_skip_verify = false;
};

/// A certificate chain as the peer showed it, and as it was verified.
struct TlsFacts {
  std::string version;  // TLS 1.3
  std::string cipher;
  std::int64_t earliest_expiry = 0;    // Unix seconds, of the shown chain
  std::int64_t last_chain_expiry = 0;  // of the verified chain, or 0
  std::string fingerprint;             // SHA-256 of the leaf, hexadecimal
  std::string subject;
  std::string issuer;
  std::string alternatives;  // DNS names, comma between
  std::string serial;        // hexadecimal
};

struct FetchRequest {
  std::string method = "GET";
  std::string url;
  std::string unix_socket;  // path; empty for TCP
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string username;  // with password: basic authentication; secrets are never in a message
  std::string password;
  std::string token;       // bearer
  Millis timeout{10'000};  // of all of it; 0: none, for a stream that stays open
  TlsOptions tls;
  long max_redirects = 10;  // 0: a redirect is the answer
  bool compressed = true;   // gzip and deflate are accepted
  /// "host:port:address": this address instead of asking the resolver.
  std::string resolve;
};

struct FetchResult {
  Status status;             // of the transfer
  unsigned http_status = 0;  // 0: there was no answer
  std::string content_type;
  std::string http_version;                                  // "1.1", "2"
  std::vector<std::pair<std::string, std::string>> headers;  // of the last answer
  std::int64_t content_length = -1;
  std::uint64_t body_bytes = 0;  // as given to the taker
  long redirects = 0;
  bool ssl = false;  // of the last answer
  TlsFacts tls;
  // Seconds, of the last answer's request.
  double resolve_seconds = 0;
  double connect_seconds = 0;
  double tls_seconds = 0;
  double processing_seconds = 0;
  double transfer_seconds = 0;
  double total_seconds = 0;  // of all
};

/// A date of an HTTP header as Unix seconds.
[[nodiscard]] std::optional<std::int64_t> parse_http_date(const std::string& text);

class Fetcher {
 public:
  Fetcher();
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  /// `on_head` once the status and headers of the final answer are there; `on_data` for each part
  /// of its body, false: enough. `on_done` is always called, from run(), unless the Fetcher is
  /// destroyed before.
  struct Takers {
    std::function<void(const FetchResult&)> on_head = {};
    std::function<bool(std::string_view)> on_data = {};
    std::function<void(FetchResult&&)> on_done = {};
  };
  void start(FetchRequest request, Takers takers);
  /// Moves what can be moved; waits at most `wait` for something to happen, not at all when a
  /// request has ended.
  void run(Millis wait);
  void wake();
  [[nodiscard]] std::size_t running() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::drivers

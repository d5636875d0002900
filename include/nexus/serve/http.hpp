// Requests and responses as handlers see them: plain values, no sockets, no Beast.
//
// A handler is a synchronous function of a request; it is unit-tested without a socket. Handlers
// marked kSnapshot build their answer from snapshots and run on the io thread; those marked
// kBlocking (a database, a query, an action) run on a small pool, so that no connection waits for
// another's work; the kill switch (kSwitch) has threads of its own, and so have what waits for
// somebody else's server (kOutside), what others watch this host by (kScrape) and what takes its
// time (kBulk). Thread safety: handlers are called from several threads.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"

namespace nexus::serve {

enum class Method { kGet, kHead, kPost, kPut, kDelete };
[[nodiscard]] std::string_view to_string(Method method) noexcept;

/// Who asks, and from where.
struct Caller {
  config::Role role = config::Role::kNone;
  std::string who = "anonymous";  // "root (uid 0)", "token ci", "anonymous"
  std::string from;               // "unix:pid 812", "127.0.0.1:51234"
  bool authenticated = false;     // by token or peer credentials
};

struct Request {
  Method method = Method::kGet;
  std::string path;  // decoded, without the query
  std::vector<std::pair<std::string, std::string>>
      query;                          // decoded, in order; form bodies are appended
  std::vector<std::string> captures;  // of the route's {name} parts, in order
  std::string body;
  std::string content_type;
  std::string accept;
  std::string accept_encoding;
  Caller caller;
  std::function<bool()> cancelled;  // the server stops, or the client has gone

  /// The first value of a query parameter.
  [[nodiscard]] std::optional<std::string_view> param(std::string_view name) const noexcept;
};

/// Whether a Content-Type names this type (in lower case), whatever its parameters and case.
[[nodiscard]] bool is_media_type(std::string_view content_type, std::string_view wanted) noexcept;

/// The rest of a body that is too large to be held: made while it is written.
class BodySource {
 public:
  virtual ~BodySource() = default;
  /// Adds the next piece, some 64 KiB, to `out`; false: that was the last. One thread at a time,
  /// never the io thread.
  [[nodiscard]] virtual bool append(std::string& out) = 0;
};

struct Response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::shared_ptr<const std::string> body = std::make_shared<const std::string>();
  std::shared_ptr<BodySource> rest = {};  // what comes behind `body`; may be null
  std::vector<std::pair<std::string, std::string>> headers;
  std::string subject = {};  // for the audit log: the id of what was made
};

[[nodiscard]] Response json(std::string body, unsigned status = 200);
/// `{"error": {"code": ..., "message": ...}}`
[[nodiscard]] Response error(unsigned status, std::string_view code, std::string_view message);
/// The status that fits the error's code: kNotFound 404, kInvalidArgument 400, kConflict 409, ...
[[nodiscard]] Response error(const Error& error);

using Handler = std::function<Response(const Request&)>;
enum class Runs { kSnapshot, kBlocking, kSwitch, kOutside, kScrape, kBulk };

struct Route {
  Method method;
  std::string pattern;  // "/operations/actions/{id}/approve"
  config::Role needs;
  Runs runs;
  Handler handler;
  std::string_view help;
};

/// Exact paths and {name} parts; no regular expressions. Immutable after the constructor.
class Router {
 public:
  explicit Router(std::vector<Route> routes);
  struct Match {
    const Route* route = nullptr;  // null: no such path, or not with this method
    std::vector<std::string> captures;
    std::vector<Method> allowed;  // methods that the path has; empty: no such path
  };
  [[nodiscard]] Match match(Method method, std::string_view path) const;
  [[nodiscard]] const std::vector<Route>& routes() const noexcept { return routes_; }

 private:
  std::vector<Route> routes_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> exact_;
  std::vector<std::size_t> patterned_;
};

}  // namespace nexus::serve

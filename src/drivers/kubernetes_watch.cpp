#include "drivers/kubernetes_watch.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/json.hpp"
#include "drivers/kubernetes_list.hpp"
#include "nexus/base/line_cutter.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr std::size_t kMostObjects = 10'000;
constexpr std::size_t kLongestEvent = 4U << 20;  // etcd takes objects of up to 1.5 MiB
constexpr Millis kFirstPause = 200ms;
constexpr Millis kLongestPause = 5s;

using OnEvent = std::function<bool(WatchEvent event, const json::value& object)>;

class Watch {
 public:
  Watch(const Kubernetes& api, const WatchRequest& request, const KubernetesPatience& patience,
        const OnEvent& on_event, WatchCounts& counts)
      : api_(api),
        request_(request),
        patience_(patience),
        on_event_(on_event),
        counts_(counts),
        version_(request.version) {}

  Status run() {
    while (!done_) {
      const Status status = version_.empty() ? list() : watch();
      if (done_) return {};
      if (status) continue;
      if (!may_pass(status.error())) return status;
      if (auto waited = wait_for(api_.clock(), pause_, patience_); !waited)
        return propagate(std::move(waited), "{}", status.error().message());
      pause_ = std::min(2 * pause_, kLongestPause);
    }
    return {};
  }

 private:
  [[nodiscard]] bool may_pass(const Error& error) const {
    if (api_.clock().steady() >= patience_.deadline) return false;
    return error.code() == Errc::kUnavailable || error.code() == Errc::kExhausted ||
           error.code() == Errc::kInternal;
  }

  Status list() {
    ++counts_.lists;
    tell(WatchEvent::kReset, {});
    if (done_) return {};
    auto listed = list_objects(
        api_, request_.path, request_.query, kMostObjects, patience_,
        [&](const json::value& object) { tell(WatchEvent::kPresent, object); },
        [&] { tell(WatchEvent::kReset, {}); });
    if (!listed) return propagate(std::move(listed));
    if (listed->left_out > 0)
      return fail(Errc::kExhausted, "{}{}: more than {} objects", api_.access().server,
                  request_.path, kMostObjects);
    tell(WatchEvent::kListed, {});
    version_ = listed->version;
    if (version_.empty() && !done_)
      return fail(Errc::kCorrupt, "{}{}: a list without a resourceVersion", api_.access().server,
                  request_.path);
    return {};
  }

  Status watch() {
    ++counts_.watches;
    const auto left =
        std::chrono::duration_cast<Millis>(patience_.deadline - api_.clock().steady());
    if (left <= Millis(0))
      return fail(Errc::kTimeout, "{}{}: not so in time", api_.access().server, request_.path);
    const auto seconds = std::max<std::int64_t>(
        1, std::chrono::ceil<std::chrono::seconds>(std::min(left, request_.turn)).count());
    KubernetesCall call{
        .path = fmt::format("{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={}"
                            "&resourceVersion={}{}{}",
                            request_.path, seconds, version_, request_.query.empty() ? "" : "&",
                            request_.query),
        .deadline = patience_.deadline,
        .cancelled = patience_.cancelled};
    const std::uint64_t before = counts_.events;
    base::LineCutter lines(kLongestEvent);
    Status status;
    const auto take = [&](std::string_view line) {
      if (status && !done_ && !version_.empty()) status = event(line);
    };
    const auto too_long = [&](std::string_view) {
      status = fail(Errc::kExhausted, "{}{}: an event of more than {} bytes", api_.access().server,
                    request_.path, kLongestEvent);
    };
    call.receive = [&](std::string_view piece) {
      lines.feed(piece, take, too_long);
      return status.has_value() && !done_ && !version_.empty();
    };
    auto reply = api_.send(call);
    if (!status || done_) return status;
    if (reply && reply->status == 410) expire();
    if (version_.empty())  // a server that forgets everything at once is not asked without a pause
      return fail(Errc::kUnavailable, "{}{}: what was read is too old by now", api_.access().server,
                  request_.path);
    // Cut off in the middle: what has come counts, and the watch goes on from there.
    if (!reply) return propagate(std::move(reply));
    if (reply->status >= 400) return std::unexpected(api_.explain(call, *reply));
    if (counts_.events == before)
      return fail(Errc::kUnavailable, "{}{}: the watch has ended", api_.access().server,
                  request_.path);
    return {};
  }

  Status event(std::string_view line) {
    const auto value = parse_json(line);
    if (!value)
      return fail(Errc::kCorrupt, "{}{}: a watch event that is not JSON", api_.access().server,
                  request_.path);
    const std::string type = text_of(member(&*value, "type"));
    const auto* object = member(&*value, "object");
    if (object == nullptr)
      return fail(Errc::kCorrupt, "{}{}: a watch event without an object", api_.access().server,
                  request_.path);
    if (type == "ERROR") {
      const auto code = whole_of<unsigned>(member(object, "code"));
      if (code == 410) {
        expire();
        return {};
      }
      return fail(errc_of_status(code), "{}{}: {}", api_.access().server, request_.path,
                  text_of(member(object, "message")));
    }
    const std::string version = text_of(member(member(object, "metadata"), "resourceVersion"));
    if (!version.empty()) version_ = version;
    pause_ = kFirstPause;
    ++counts_.events;
    if (type == "BOOKMARK") {
      ++counts_.bookmarks;
    } else if (type == "ADDED") {
      tell(WatchEvent::kAdded, *object);
    } else if (type == "MODIFIED") {
      tell(WatchEvent::kModified, *object);
    } else if (type == "DELETED") {
      tell(WatchEvent::kDeleted, *object);
    }
    return {};
  }

  void tell(WatchEvent event, const json::value& object) {
    if (!done_) done_ = !on_event_(event, object);
  }

  void expire() {
    ++counts_.expired;
    version_.clear();
  }

  const Kubernetes& api_;
  const WatchRequest& request_;
  const KubernetesPatience& patience_;
  const OnEvent& on_event_;
  WatchCounts& counts_;
  std::string version_;  // empty: to be listed
  Millis pause_ = kFirstPause;
  bool done_ = false;
};

}  // namespace

Status watch_objects(
    const Kubernetes& api, const WatchRequest& request, const KubernetesPatience& patience,
    const std::function<bool(WatchEvent event, const json::value& object)>& on_event,
    WatchCounts* counts) {
  WatchCounts unwanted;
  return Watch(api, request, patience, on_event, counts == nullptr ? unwanted : *counts).run();
}

}  // namespace nexus::drivers

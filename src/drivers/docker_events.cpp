#include "nexus/drivers/docker_events.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "drivers/json.hpp"
#include "nexus/base/line_cutter.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/fetcher.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kLongestLine = 1U << 20;
constexpr std::size_t kRemembered = 1024;  // events: more than an engine gives again

std::optional<DockerEvent> to_event(std::string_view line) {
  const auto value = parse_json(line);
  if (!value || !value->is_object()) return std::nullopt;
  DockerEvent out;
  out.time = whole_of<std::int64_t>(member(&*value, "timeNano"));
  out.type = text_of(member(&*value, "Type"));
  const std::string action = text_of(member(&*value, "Action"));
  std::string_view rest = action;  // "exec_start: sh -c ...": what follows is other people's
  out.action = base::trim(base::take_until(rest, ':'));
  const auto* actor = member(&*value, "Actor");
  out.id = text_of(member(actor, "ID"));
  const auto* attributes = member(actor, "Attributes");
  out.name = text_of(member(attributes, "name"));
  out.signal = text_of(member(attributes, "signal"));
  out.project = text_of(member(attributes, "com.docker.compose.project"));
  out.service = text_of(member(attributes, "com.docker.compose.service"));
  return out;
}

}  // namespace

struct DockerEvents::Impl {
  const std::string socket;
  const Callback callback;
  const std::function<void()> ended;
  const std::int64_t from;  // nanoseconds
  std::thread thread{};
  Fetcher fetcher{};  // the thread's, but for wake()
  std::atomic<bool> open{false};
  std::atomic<bool> stopping{false};
  std::atomic<std::uint64_t> gaps{0};
  std::atomic<std::uint64_t> invalid{0};

  // The thread's, one after the other.
  std::int64_t newest = from;
  std::deque<std::uint64_t> remembered;  // hashes of lines
  bool again = false;                    // it was open before, and has not met what it knew yet

  mutable std::mutex mutex{};
  std::string error{};  // guarded by mutex

  void run() {
    base::name_this_thread("docker-events");
    FetchRequest request;
    request.url = fmt::format("http://engine/events?since={}", newest / 1'000'000'000);
    request.unix_socket = socket;
    request.timeout = Millis(0);
    base::LineCutter lines(kLongestLine);
    bool accepted = false;
    std::optional<FetchResult> result;
    const auto take = [&](std::string_view part) {
      if (!accepted) return false;
      lines.feed(
          part, [this](std::string_view text) { line(text); },
          [this](std::string_view) { ++invalid; });
      return true;
    };
    fetcher.start(std::move(request),
                  {.on_head = [&](const FetchResult& head) { accepted = head.http_status == 200; },
                   .on_data = take,
                   .on_done = [&](FetchResult&& done) { result = std::move(done); }});
    while (!result && !stopping) fetcher.run(Millis(1000));
    if (!result) return;
    {
      const std::lock_guard guard(mutex);
      if (!accepted && result->http_status != 0)
        error =
            fmt::format("container engine at {}: /events: status {}", socket, result->http_status);
      else
        error = result->status ? "the engine closed the stream of events"
                               : result->status.error().message();
    }
    open = false;
    if (ended && !stopping) ended();
  }

  void line(std::string_view text) {
    text = base::trim(text);
    if (text.empty()) return;
    const auto hash = base::fnv1a(text);
    if (std::ranges::find(remembered, hash) != remembered.end()) {
      again = false;
      return;
    }
    auto event = to_event(text);
    if (!event) {
      ++invalid;
      return;
    }
    if (event->time < from) return;  // the engine is asked for whole seconds
    // The newest of before is not among what the engine still knows: neither is what came next.
    if (std::exchange(again, false)) ++gaps;
    remembered.push_back(hash);
    if (remembered.size() > kRemembered) remembered.pop_front();
    newest = std::max(newest, event->time);
    callback(*event);
  }
};

DockerEvents::DockerEvents(std::string socket, WallTime from, Callback callback,
                           std::function<void()> ended)
    : impl_(new Impl{.socket = std::move(socket),
                     .callback = std::move(callback),
                     .ended = std::move(ended),
                     .from = base::to_unix_millis(from) * 1'000'000,
                     .remembered = {}}) {}

DockerEvents::~DockerEvents() {
  impl_->stopping = true;
  impl_->fetcher.wake();
  if (impl_->thread.joinable()) impl_->thread.join();
}

void DockerEvents::reopen() {
  if (impl_->open) return;
  if (impl_->thread.joinable()) impl_->thread.join();
  impl_->again = !impl_->remembered.empty();
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->error.clear();
  }
  impl_->open = true;
  try {
    impl_->thread = std::thread([this] { impl_->run(); });
  } catch (const std::system_error& refused) {
    impl_->open = false;  // the next run tries again
    const std::lock_guard guard(impl_->mutex);
    impl_->error = fmt::format("cannot start a thread for events: {}", refused.what());
  }
}

bool DockerEvents::is_open() const noexcept {
  return impl_->open;
}
std::uint64_t DockerEvents::gaps() const noexcept {
  return impl_->gaps;
}
std::uint64_t DockerEvents::invalid() const noexcept {
  return impl_->invalid;
}
std::string DockerEvents::error() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->error;
}

Result<std::vector<DockerEvent>> past_events(const Docker& engine, std::string_view filters,
                                             WallTime from, WallTime to, SteadyTime deadline) {
  // To the end of the millisecond, and no longer: until then the engine holds its answer back.
  const auto until = base::to_unix_millis(to) + 1;
  auto answer = engine.request(
      "GET",
      fmt::format("/events?since={}&until={}.{:03}&filters={}", base::to_unix_millis(from) / 1000,
                  until / 1000, until % 1000, url_encode(filters)),
      {}, deadline);
  if (!answer) return propagate(std::move(answer));
  std::vector<DockerEvent> out;
  for (std::string_view rest = answer->body; !rest.empty();) {
    auto event = to_event(base::take_until(rest, '\n'));
    if (event) out.push_back(*std::move(event));
  }
  return out;
}

}  // namespace nexus::drivers

// Sends a file to the running agent in parts that fit a request, at line ends, and tells what the
// agent refused with the lines of the file.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>

#include "agent/commands/gzip_file.hpp"
#include "agent/commands/transfer.hpp"
#include "nexus/base/clock.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr std::size_t kPart = 48UL << 10;  // [http] max_body_bytes is 64 KiB when nobody changes it
constexpr std::size_t kLongest = 1UL << 20;  // of a line that is sent as it is, to be refused
// A part may have to wait until the agent has written what came before, on a busy disk.
constexpr Millis kPartTimeout{10 * 60'000};

class Sender {
 public:
  explicit Sender(ClientFlags flags)
      : flags_(std::move(flags)), is_watched_(::isatty(STDERR_FILENO) == 1) {
    flags_.socket = socket_of(flags_);  // once for all parts
  }

  /// All whole lines of `text`.
  Status send(std::string_view text) {
    while (!text.empty()) {
      const auto answer = post(text, "");
      if (!answer) return std::unexpected(answer.error());
      const auto done = note(*answer);
      if (Status room = obstacle_of(*answer); !room) return room;
      for (std::uint64_t i = 0; i < done && !text.empty(); ++i)
        text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
      if (!text.empty()) pause();
    }
    return {};
  }

  /// There is no more: what was sent is written.
  Status end() {
    const auto answer = post("", "&last=1");
    if (!answer) return std::unexpected(answer.error());
    note(*answer);
    return obstacle_of(*answer);
  }

  [[nodiscard]] int report(const std::string& path) const {
    if (is_watched_ && parts_ > 0) fmt::print(stderr, "{}", kClearLine);
    return report_import(path, tally_);
  }

 private:
  Result<json::value> post(std::string_view text, std::string_view more) {
    return agent::send(flags_, "POST",
                       fmt::format("/api/v1/admin/import?part={}{}", parts_++, more),
                       std::string(text), "application/openmetrics-text", kPartTimeout);
  }

  /// How far it has got, where somebody watches: at once, then every second.
  void show_progress() {
    if (!is_watched_ || clock_.steady() < next_shown_) return;
    next_shown_ = clock_.steady() + Millis(1'000);
    fmt::print(stderr, "{}{} lines, {} of them refused", kClearLine, lines_, tally_.refused);
    std::fflush(stderr);
  }

  /// How many lines were dealt with.
  std::uint64_t note(const json::value& answer) {
    const auto number = [&](std::string_view name) {
      return answer.at(name).to_number<std::uint64_t>();
    };
    tally_.held += number("held");
    tally_.imported += number("accepted") - number("held");
    tally_.refused += number("refused");
    tally_.over_limit += number("over_limit");
    for (const auto& mistake : answer.at("mistakes").as_array()) {
      if (++shown_ > ImportTally::kShown) break;
      fmt::print(stderr, "{}line {}: {}\n", is_watched_ ? kClearLine : "",
                 lines_ + mistake.at("line").to_number<std::uint64_t>(),
                 to_cell(mistake.at("message")));
    }
    const auto done = number("lines");
    lines_ += done;
    show_progress();
    return done;
  }

  /// Why the agent's disk takes no more.
  static Status obstacle_of(const json::value& answer) {
    const auto* obstacle = answer.as_object().if_contains("obstacle");
    if (obstacle == nullptr) return {};
    return fail(Errc::kUnavailable, "{}", to_cell(*obstacle));
  }

  /// Until the agent has emptied its ring.
  void pause() {
    std::mutex mutex;
    std::condition_variable condition;
    std::unique_lock lock(mutex);
    clock_.wait_until(lock, condition, clock_.steady() + Millis(20), [] { return false; });
  }

  static constexpr std::string_view kClearLine = "\r\x1b[K";

  ClientFlags flags_;
  bool is_watched_;  // standard error is a terminal
  base::SystemClock clock_;
  SteadyTime next_shown_{};
  std::uint64_t parts_ = 0;
  std::uint64_t lines_ = 0;
  ImportTally tally_;
  std::uint64_t shown_ = 0;
};

Status send_file(GzipFile& file, Sender& sender) {
  std::string text;
  while (true) {
    const auto part = file.read();
    if (!part) return std::unexpected(part.error());
    text += *part;
    const bool end = part->empty();
    while (text.size() >= kPart || (end && !text.empty())) {
      const auto size = std::min(text.size(), kPart);
      const auto last = text.rfind('\n', size - 1);
      const bool cut = last != std::string::npos;
      if (!cut && !end && text.size() < kLongest) break;
      const auto whole = cut ? last + 1 : text.size();
      if (Status sent = sender.send(std::string_view(text).substr(0, whole)); !sent) return sent;
      text.erase(0, whole);
    }
    if (end) return sender.end();
  }
}

}  // namespace

int report_import(const std::string& path, const ImportTally& tally) {
  if (tally.refused > ImportTally::kShown)
    fmt::print(stderr, "and {} lines more\n", tally.refused - ImportTally::kShown);
  if (tally.over_limit > 0) {
    fmt::print(stderr, "{} of the refused lines are of series beyond the limit of series\n",
               tally.over_limit);
  }
  fmt::print("{}: {} samples imported, {} held already, {} lines refused\n", path, tally.imported,
             tally.held, tally.refused);
  return tally.refused == 0 ? 0 : 1;
}

int import_file(const ClientFlags& flags, const StoppedFlags& stopped, const std::string& path) {
  if (!stopped.data_dir.empty()) return import_to_stopped(stopped, path);
  auto file = GzipFile::open(path);
  if (!file) return report(file.error());
  Sender sender(flags);
  const auto sent = send_file(*file, sender);
  // What waits is written or given up now, and counted.
  if (!sent && sent.error().code() == Errc::kUnavailable) (void)sender.end();
  const int code = sender.report(path);
  return sent ? code : report(sent.error());
}

}  // namespace nexus::agent

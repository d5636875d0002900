// Sends a file to the running agent in parts that fit a request, at line ends, and tells what the
// agent refused with the lines of the file.
#include <fmt/format.h>

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
constexpr std::uint64_t kShown = 100;        // mistakes

class Sender {
 public:
  explicit Sender(ClientFlags flags) : flags_(std::move(flags)) {
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
    if (refused_ > kShown) fmt::print(stderr, "and {} lines more\n", refused_ - kShown);
    fmt::print("{}: {} samples imported, {} held already, {} lines refused\n", path,
               accepted_ - std::min(accepted_, held_), held_, refused_);
    return refused_ == 0 ? 0 : 1;
  }

 private:
  Result<json::value> post(std::string_view text, std::string_view more) {
    return agent::send(flags_, "POST", fmt::format("/api/v1/admin/import?part={}{}", part_++, more),
                       std::string(text), "application/openmetrics-text");
  }

  /// How many lines were dealt with.
  std::uint64_t note(const json::value& answer) {
    accepted_ += answer.at("accepted").to_number<std::uint64_t>();
    held_ += answer.at("held").to_number<std::uint64_t>();
    refused_ += answer.at("refused").to_number<std::uint64_t>();
    for (const auto& mistake : answer.at("mistakes").as_array()) {
      if (++shown_ > kShown) break;
      fmt::print(stderr, "line {}: {}\n", lines_ + mistake.at("line").to_number<std::uint64_t>(),
                 to_cell(mistake.at("message")));
    }
    const auto done = answer.at("lines").to_number<std::uint64_t>();
    lines_ += done;
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

  ClientFlags flags_;
  base::SystemClock clock_;
  std::uint64_t part_ = 0;
  std::uint64_t lines_ = 0;
  std::uint64_t accepted_ = 0;
  std::uint64_t held_ = 0;
  std::uint64_t refused_ = 0;
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

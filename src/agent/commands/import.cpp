// Sends a file in parts that fit a request, at line ends, and tells what the agent refused with the
// lines of the file.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <boost/json/parse.hpp>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>

#include "agent/commands/transfer.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr std::size_t kPart = 48UL << 10;  // [http] max_body_bytes is 64 KiB when nobody changes it
constexpr std::uint64_t kShown = 100;      // mistakes

struct CloseGzip {
  void operator()(gzFile file) const { ::gzclose(file); }
};
using Gzip = std::unique_ptr<gzFile_s, CloseGzip>;

class Sender {
 public:
  explicit Sender(const ClientFlags& flags) : flags_(flags) {}

  /// All whole lines of `text`.
  Status send(std::string_view text) {
    while (!text.empty()) {
      const auto answer = post(text);
      if (!answer) return std::unexpected(answer.error());
      accepted_ += answer->at("accepted").to_number<std::uint64_t>();
      refused_ += answer->at("refused").to_number<std::uint64_t>();
      for (const auto& mistake : answer->at("mistakes").as_array()) {
        if (++shown_ > kShown) break;
        fmt::print(stderr, "line {}: {}\n", lines_ + mistake.at("line").to_number<std::uint64_t>(),
                   to_cell(mistake.at("message")));
      }
      const auto done = answer->at("lines").to_number<std::uint64_t>();
      lines_ += done;
      for (std::uint64_t i = 0; i < done && !text.empty(); ++i)
        text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
      if (!text.empty()) pause();
    }
    return {};
  }

  [[nodiscard]] int report(const std::string& path) const {
    if (refused_ > kShown) fmt::print(stderr, "and {} lines more\n", refused_ - kShown);
    fmt::print("{}: {} samples imported, {} lines refused\n", path, accepted_, refused_);
    return refused_ == 0 ? 0 : 1;
  }

 private:
  Result<json::value> post(std::string_view text) {
    drivers::HttpRequest request;
    request.method = "POST";
    request.url = fmt::format("http://localhost/api/v1/admin/import?part={}", part_++);
    request.unix_socket = flags_.socket;
    request.body = text;
    request.headers.emplace_back("Content-Type", "application/openmetrics-text");
    auto response = drivers::http_request(request);
    if (!response)
      return propagate(std::move(response), "no answer from the agent on {}", flags_.socket);
    boost::system::error_code ec;
    auto value = json::parse(response->body, ec);
    if (response->status == 200 && !ec) return value;
    const auto* message = ec ? nullptr : find_path(value, "error.message");
    return fail(
        Errc::kConflict, "{}",
        message != nullptr ? to_cell(*message) : fmt::format("status {}", response->status));
  }

  /// Until the agent has emptied its ring.
  void pause() {
    std::mutex mutex;
    std::condition_variable condition;
    std::unique_lock lock(mutex);
    clock_.wait_until(lock, condition, clock_.steady() + Millis(20), [] { return false; });
  }

  const ClientFlags& flags_;
  base::SystemClock clock_;
  std::uint64_t part_ = 0;
  std::uint64_t lines_ = 0;
  std::uint64_t accepted_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t shown_ = 0;
};

Status send_file(gzFile file, const std::string& path, Sender& sender) {
  std::string text;
  std::array<char, 16384> buffer;
  while (true) {
    const int got = ::gzread(file, buffer.data(), buffer.size());
    if (got < 0) {
      int code = 0;
      return fail(Errc::kCorrupt, "{}: {}", path, ::gzerror(file, &code));
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
    const bool end = got == 0;
    if (text.size() < kPart && !end) continue;
    const auto last = text.rfind('\n');
    const auto whole = end ? text.size() : (last == std::string::npos ? text.size() : last + 1);
    if (Status sent = sender.send(std::string_view(text).substr(0, whole)); !sent) return sent;
    text.erase(0, whole);
    if (end) return {};
  }
}

}  // namespace

int import_file(const ClientFlags& flags, const std::string& path) {
  const int fd = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return report(Error::from_errno("open " + path));
  const Gzip file(::gzdopen(fd, "rb"));
  if (!file) {
    ::close(fd);
    return report(Error(Errc::kExhausted, path + ": no memory to read it"));
  }
  Sender sender(flags);
  const auto sent = send_file(file.get(), path, sender);
  const int code = sender.report(path);
  return sent ? code : report(sent.error());
}

}  // namespace nexus::agent

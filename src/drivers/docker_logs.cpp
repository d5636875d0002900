#include "nexus/drivers/docker_logs.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kHead = 8;            // of a frame: which output, three zeros, the size
constexpr std::size_t kMostBody = 4 << 20;  // a line may be of any length

bool is_head(std::string_view text) {
  return text.size() >= kHead && static_cast<unsigned char>(text[0]) <= 2 && text[1] == 0 &&
         text[2] == 0 && text[3] == 0;
}

}  // namespace

std::string without_frames(std::string_view text) {
  if (!is_head(text)) return std::string(text);
  std::string out;
  while (is_head(text)) {
    std::size_t size = 0;
    for (std::size_t i = 4; i < kHead; ++i) size = size << 8U | static_cast<unsigned char>(text[i]);
    text.remove_prefix(kHead);
    out += text.substr(0, size);
    text.remove_prefix(std::min(size, text.size()));
  }
  return out;
}

Result<std::vector<std::string>> last_lines(const Docker& engine, std::string_view id,
                                            std::size_t most, std::size_t longest,
                                            SteadyTime deadline) {
  auto answer = engine.request(
      "GET", fmt::format("/containers/{}/logs?stdout=1&stderr=1&tail={}", url_encode(id), most), {},
      deadline, kMostBody);
  if (!answer) return propagate(std::move(answer));
  const auto text = without_frames(answer->body);
  std::vector<std::string> out;
  for (std::string_view rest = text; !rest.empty();) {
    const auto line = base::trim(base::take_until(rest, '\n'));
    if (!line.empty()) out.push_back(base::sanitize_utf8(line.substr(0, longest)));
  }
  if (out.size() > most) out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(most));
  return out;
}

}  // namespace nexus::drivers

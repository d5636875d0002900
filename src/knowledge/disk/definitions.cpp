#include "knowledge/disk/definitions.hpp"

#include <algorithm>

namespace nexus::knowledge::disk {
namespace {

void put(std::vector<std::uint8_t>& to, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) to.push_back(static_cast<std::uint8_t>(number | 0x80));
  to.push_back(static_cast<std::uint8_t>(number));
}

void put(std::vector<std::uint8_t>& to, std::string_view text) {
  put(to, text.size());
  to.insert(to.end(), text.begin(), text.end());
}

/// Takes what put() wrote off the front. After the first that is not there everything is empty.
class Taker {
 public:
  explicit Taker(Bytes bytes) : rest_(bytes) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const std::uint8_t byte = rest_.front();
      rest_ = rest_.subspan(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail_here();
    return 0;
  }
  /// A number of things of which each takes at least `bytes`.
  std::uint64_t count(std::size_t bytes) {
    const std::uint64_t value = number();
    if (value <= rest_.size() / bytes) return value;
    fail_here();
    return 0;
  }
  std::string_view text() {
    const std::uint64_t size = count(1);
    const Bytes bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void fail_here() {
    good_ = false;
    rest_ = {};
  }
  [[nodiscard]] bool good() const noexcept { return good_; }
  [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

 private:
  Bytes rest_;
  bool good_ = true;
};

constexpr auto kLastType = static_cast<std::uint64_t>(MetricType::kSummary);

}  // namespace

std::uint32_t Definitions::add(const Family& family) {
  // Series of a family mostly come one after another.
  const auto found =
      std::ranges::find(families.rbegin(), families.rend(), family.name, &Family::name);
  if (found != families.rend()) {
    return static_cast<std::uint32_t>(families.rend() - found - 1);
  }
  families.push_back(family);
  return static_cast<std::uint32_t>(families.size() - 1);
}

std::vector<std::uint8_t> encode(const Definitions& definitions) {
  std::vector<std::uint8_t> out;
  put(out, definitions.families.size());
  for (const Family& family : definitions.families) {
    put(out, family.name);
    put(out, static_cast<std::uint64_t>(family.type));
    put(out, family.help);
  }
  put(out, definitions.series.size());
  for (const SeriesDefinition& series : definitions.series) {
    put(out, series.number);
    put(out, series.family);
    put(out, series.labels.size());
    for (const Label& label : series.labels) {
      put(out, label.name);
      put(out, label.value);
    }
  }
  return out;
}

Result<Definitions> decode_definitions(Bytes bytes) {
  Taker taker(bytes);
  Definitions out;
  for (std::uint64_t left = taker.count(3); left > 0; --left) {
    Family& family = out.families.emplace_back();
    family.name = taker.text();
    const std::uint64_t type = taker.number();
    if (type > kLastType) taker.fail_here();
    family.type = static_cast<MetricType>(std::min(type, kLastType));
    family.help = taker.text();
  }
  for (std::uint64_t left = taker.count(3); left > 0 && taker.good(); --left) {
    SeriesDefinition& series = out.series.emplace_back();
    const std::uint64_t number = taker.number();
    const std::uint64_t family = taker.number();
    if (number > UINT32_MAX || family >= out.families.size()) taker.fail_here();
    series.number = static_cast<std::uint32_t>(number);
    series.family = static_cast<std::uint32_t>(family);
    std::vector<Label> labels(taker.count(2));
    for (Label& label : labels) {
      label.name = taker.text();
      label.value = taker.text();
    }
    series.labels = Labels(std::move(labels));
  }
  if (!taker.good() || !taker.at_end()) {
    return fail(Errc::kCorrupt, "definitions of series: {} bytes are none", bytes.size());
  }
  return out;
}

}  // namespace nexus::knowledge::disk

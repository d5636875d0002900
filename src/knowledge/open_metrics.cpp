#include "nexus/knowledge/open_metrics.hpp"

#include <atomic>
#include <optional>

#include "nexus/knowledge/exposition_reader.hpp"

namespace nexus::knowledge {

void OpenMetricsReader::feed(std::string_view bytes) {
  cutter_.feed(
      bytes, [this](std::string_view text) { line(text); },
      [this](std::string_view) { too_long(); });
}

void OpenMetricsReader::finish() {
  cutter_.finish([this](std::string_view text) { line(text); },
                 [this](std::string_view) { too_long(); });
}

void OpenMetricsReader::too_long() {
  ++lines_;
  on_mistake_(lines_, fmt::format("longer than {} bytes", kMaxLine));
}

void OpenMetricsReader::line(std::string_view text) {
  ++lines_;
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) return;
  if (ended_) return on_mistake_(lines_, "nothing may follow # EOF");
  if (text.starts_with('#')) {
    ended_ = text == "# EOF";
    return;
  }
  if (const Status done = sample(text); !done) on_mistake_(lines_, done.error().message());
}

bool OpenMetricsReader::begins_with(std::string_view text, const Known* known) noexcept {
  return known != nullptr && text.starts_with(known->head);
}

Status OpenMetricsReader::sample(std::string_view text) {
  constexpr auto kFormat = ExpositionFormat::kOpenMetrics;
  Known* known = nullptr;
  std::optional<Result<ExpositionSample>> parsed;
  if (last_ != nullptr) {
    known = begins_with(text, last_)         ? last_
            : begins_with(text, last_->next) ? last_->next
                                             : nullptr;
  }
  if (known != nullptr) {
    if (const auto usual = parse_usual(text.substr(known->head.size()))) {
      return give(known, usual->time, usual->value);
    }
    parsed = parse_after_head(text.substr(known->head.size()), kFormat);
  }
  const bool guessed = parsed.has_value();  // else the head only begins in the same way
  if (!guessed) parsed = parse_exposition_line(text, kFormat);
  const Result<ExpositionSample>& found = *parsed;
  if (!found) return std::unexpected(found.error());
  if (!found->time) return fail(Errc::kInvalidArgument, "expected a timestamp after the value");
  if (!guessed) {
    const auto looked_up = find(found->head);
    if (!looked_up) return std::unexpected(looked_up.error());
    known = *looked_up;
  }
  return give(known, *found->time, found->value);
}

Status OpenMetricsReader::give(Known* known, std::int64_t time, double value) {
  if (known != last_) {
    if (last_ != nullptr) last_->next = known;
    last_ = known;
  }
  return on_sample_(known->labels, known->series, time, value);
}

Result<OpenMetricsReader::Known*> OpenMetricsReader::find(std::string_view head) {
  static std::atomic<std::uint64_t> last_series{0};
  const auto known = heads_.find(head);
  if (known != heads_.end()) return &known->second;
  auto labels = parse_exposition_head(head);
  if (!labels) return std::unexpected(labels.error());
  if (heads_.size() >= kMaxHeads) {
    heads_.clear();
    last_ = nullptr;
  }
  const auto added = heads_
                         .emplace(head, Known{.labels = Labels(std::move(*labels)),
                                              .series = ++last_series,
                                              .head = {},
                                              .next = nullptr})
                         .first;
  added->second.head = added->first;
  return &added->second;
}

}  // namespace nexus::knowledge

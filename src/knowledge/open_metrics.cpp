#include "nexus/knowledge/open_metrics.hpp"

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

Status OpenMetricsReader::sample(std::string_view text) {
  const auto parsed = parse_exposition_line(text, ExpositionFormat::kOpenMetrics);
  if (!parsed) return std::unexpected(parsed.error());
  if (!parsed->time) return fail(Errc::kInvalidArgument, "expected a timestamp after the value");
  const bool same = !head_.empty() && parsed->head == head_;
  if (!same) {
    head_.clear();
    auto labels = parse_exposition_head(parsed->head);
    if (!labels) return std::unexpected(labels.error());
    labels_ = Labels(std::move(*labels));
    head_ = parsed->head;
  }
  return on_sample_(labels_, same, *parsed->time, parsed->value);
}

}  // namespace nexus::knowledge

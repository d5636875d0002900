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
  const bool again = !head_.empty() && parsed->head == head_;
  if (!again) {
    head_.clear();
    if (Status found = find_labels(parsed->head); !found) return found;
    head_ = parsed->head;
  }
  return on_sample_(*labels_, again, *parsed->time, parsed->value);
}

Status OpenMetricsReader::find_labels(std::string_view head) {
  auto found = heads_.find(head);
  if (found == heads_.end()) {
    auto labels = parse_exposition_head(head);
    if (!labels) return std::unexpected(labels.error());
    if (heads_.size() >= kMaxHeads) heads_.clear();
    found = heads_.emplace(head, Labels(std::move(*labels))).first;
  }
  labels_ = &found->second;
  return {};
}

}  // namespace nexus::knowledge

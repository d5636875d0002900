#include "nexus/knowledge/importer.hpp"

#include "nexus/base/text.hpp"
#include "nexus/knowledge/open_metrics.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::int64_t kMostAhead = 60'000;  // ms that a clock elsewhere may be fast

}  // namespace

Importer::Importer(Clock& clock, SeriesRegistry& registry, const History& history, Rings& rings,
                   SelfMetrics& self)
    : clock_(clock),
      registry_(registry),
      history_(history),
      ring_(rings.add()),
      samples_(self.counter("nexus_import_samples_total", "Samples taken from imports.")),
      refused_(self.counter("nexus_import_refused_lines_total",
                            "Lines of imports that were not taken.")) {}

Result<Importer::Series*> Importer::series(const Labels& labels) {
  auto id = registry_.intern(labels);
  if (!id) return std::unexpected(id.error());
  const auto known = imported_.find(*id);
  if (known == imported_.end() && history_.latest(*id)) {
    return fail(Errc::kConflict, "{}: the history has samples of this series already",
                to_string(labels));
  }
  if (known == imported_.end() && imported_.size() >= registry_.limit()) {
    // Ids of series that were forgotten since; those still held are refused from now on.
    imported_.clear();
  }
  current_ = {*id, known == imported_.end() ? INT64_MIN : known->second};
  return &current_;
}

ImportResult Importer::import(std::string_view text, Millis retention) {
  const std::lock_guard guard(mutex_);
  ImportResult out;
  const auto now = base::to_unix_millis(clock_.wall());
  const auto oldest = now - retention.count();
  bool full = false;
  Series* at = nullptr;
  std::string refusal;  // of the series, the same for each of its lines
  OpenMetricsReader reader(
      [&](const Labels& labels, bool same, std::int64_t time, double value) -> Status {
        if (!same) {
          auto found = series(labels);
          at = found ? *found : nullptr;
          refusal = found ? std::string() : found.error().message();
        }
        if (at == nullptr) return fail(Errc::kConflict, "{}", refusal);
        if (time < oldest)
          return fail(Errc::kInvalidArgument, "older than the history keeps ({})",
                      base::format_duration(retention));
        if (time > now + kMostAhead) return fail(Errc::kInvalidArgument, "in the future");
        if (time <= at->last)
          return fail(Errc::kInvalidArgument, "not newer than the sample before it");
        const auto group = kFirstGroup + static_cast<std::uint32_t>(registry_.place(at->id));
        if (!ring_->push({group, time, {&at->id, 1}, {&value, 1}})) {
          full = true;
          return {};
        }
        at->last = time;
        imported_[at->id] = time;
        ++out.accepted;
        return {};
      },
      [&](std::uint64_t line, std::string message) {
        ++out.refused;
        if (out.mistakes.size() < kMaxMistakes) out.mistakes.push_back({line, std::move(message)});
      });
  while (!text.empty() && !full) {
    const auto end = text.find('\n');
    const auto length = end == std::string_view::npos ? text.size() : end + 1;
    reader.feed(text.substr(0, length));
    text.remove_prefix(length);
  }
  if (!full) reader.finish();
  out.lines = reader.lines() - (full ? 1 : 0);
  samples_.add(static_cast<double>(out.accepted));
  refused_.add(static_cast<double>(out.refused));
  return out;
}

}  // namespace nexus::knowledge

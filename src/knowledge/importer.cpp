#include "nexus/knowledge/importer.hpp"

#include <fmt/format.h>

#include <optional>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/open_metrics.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::size_t kMostWaiting = 16U << 20;  // bytes of samples that wait to be written
// A series of which nothing is held yet is forgotten a minute after it was last asked for, and
// another may take its place.
constexpr Millis kKeepAlive{15'000};

Status check_time(std::int64_t time, std::int64_t now, Millis retention) {
  if (time < now - retention.count())
    return fail(Errc::kInvalidArgument, "older than the history keeps ({})",
                base::format_duration(retention));
  if (time > now + Importer::kMostAhead.count())
    return fail(Errc::kInvalidArgument, "in the future");
  return {};
}

auto note_mistakes_in(ImportResult& out) {
  return [&out](std::uint64_t line, std::string message) {
    ++out.refused;
    if (out.mistakes.size() < Importer::kMaxMistakes)
      out.mistakes.push_back({line, std::move(message)});
  };
}

}  // namespace

Importer::Importer(Clock& clock, SeriesRegistry& registry, History& history, Rings& rings,
                   SelfMetrics& self)
    : clock_(clock),
      registry_(registry),
      history_(history),
      ring_(rings.add()),
      samples_(self.counter("nexus_import_samples_total", "Samples taken from imports.")),
      refused_(self.counter("nexus_import_refused_lines_total",
                            "Lines of imports that were not taken.")),
      lost_(self.counter("nexus_import_lost_samples_total",
                         "Samples taken from imports that could not be written.")),
      backfill_(registry, history, kMostWaiting) {}

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

ImportResult Importer::import(std::string_view text, Millis retention, Rest rest) {
  const bool on_disk = history_.stats().on_disk;
  ImportResult out;
  {
    const std::lock_guard guard(mutex_);
    out = on_disk ? import_to_disk(text, retention, rest) : import_to_memory(text, retention);
    samples_.add(static_cast<double>(out.accepted));
    refused_.add(static_cast<double>(out.refused));
  }
  if (rest == Rest::kNone && show_) show_();
  return out;
}

void Importer::finish() {
  const std::lock_guard guard(mutex_);
  const std::uint64_t lost = backfill_.lost();
  const std::uint64_t stored = backfill_.stored();
  const std::uint64_t held = backfill_.held();
  if (Status written = backfill_.flush(); !written)
    log::error("history", "import: not all could be made to last: {}", written.error().message());
  samples_.add(static_cast<double>(backfill_.stored() - stored + backfill_.held() - held));
  tell_lost(lost);
}

/// What waited may be of another import than the one that is told of it.
void Importer::tell_lost(std::uint64_t before) {
  const std::uint64_t lost = backfill_.lost() - before;
  if (lost == 0) return;
  lost_.add(static_cast<double>(lost));
  log::error("history", "import: {} samples that were taken are lost: {}", lost,
             backfill_.why_lost());
}

ImportResult Importer::import_to_disk(std::string_view text, Millis retention, Rest rest) {
  ImportResult out;
  const auto now = base::to_unix_millis(clock_.wall());
  if (clock_.steady() >= keep_alive_at_) {
    backfill_.keep_alive();
    keep_alive_at_ = clock_.steady() + kKeepAlive;
  }
  const std::uint64_t held = backfill_.held();
  const std::uint64_t stored = backfill_.stored();
  const std::uint64_t lost = backfill_.lost();
  OpenMetricsReader reader(
      [&](const Labels& labels, std::uint64_t number, std::int64_t time, double value) -> Status {
        if (Status good = check_time(time, now, retention); !good) return good;
        Status added = backfill_.add(labels, number, time, value);
        if (!added) {
          const Error& why = added.error();
          if (why.code() == Errc::kExhausted) ++out.over_limit;
          if (why.code() == Errc::kUnavailable && out.obstacle.empty())
            out.obstacle = why.message();
        }
        return added;
      },
      note_mistakes_in(out));
  reader.feed(text);
  reader.finish();
  out.lines = reader.lines();
  if (rest == Rest::kNone) {
    if (const Status written = backfill_.flush(); !written) {
      out.obstacle = fmt::format("{} samples that were taken could not be made to last: {}",
                                 backfill_.lost() - lost, written.error().message());
    }
  }
  out.refused += backfill_.lost() - lost;
  tell_lost(lost);
  out.held = backfill_.held() - held;
  out.accepted = backfill_.stored() - stored + out.held;
  return out;
}

ImportResult Importer::import_to_memory(std::string_view text, Millis retention) {
  ImportResult out;
  const auto now = base::to_unix_millis(clock_.wall());
  bool full = false;
  Series* at = nullptr;
  std::uint64_t at_number = 0;
  std::optional<Error> refusal;  // of the series, the same for each of its lines
  OpenMetricsReader reader(
      [&](const Labels& labels, std::uint64_t number, std::int64_t time, double value) -> Status {
        if (number != at_number) {
          at_number = number;
          auto found = series(labels);
          at = found ? *found : nullptr;
          refusal = found ? std::nullopt : std::optional(found.error());
        }
        if (refusal) {
          if (refusal->code() == Errc::kExhausted) ++out.over_limit;
          return std::unexpected(*refusal);
        }
        if (Status good = check_time(time, now, retention); !good) return good;
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
      note_mistakes_in(out));
  while (!text.empty() && !full) {
    const auto end = text.find('\n');
    const auto length = end == std::string_view::npos ? text.size() : end + 1;
    reader.feed(text.substr(0, length));
    text.remove_prefix(length);
  }
  if (!full) reader.finish();
  out.lines = reader.lines() - (full ? 1 : 0);
  return out;
}

}  // namespace nexus::knowledge

#include "agent/commands/stopped.hpp"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "agent/client.hpp"
#include "agent/commands/gzip_file.hpp"
#include "agent/commands/transfer.hpp"
#include "nexus/analyze/models.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/backfill.hpp"
#include "nexus/knowledge/importer.hpp"
#include "nexus/knowledge/models.hpp"
#include "nexus/knowledge/open_metrics.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/tier_watch.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;
namespace promql = knowledge::promql;

constexpr std::size_t kMostWaiting = 256UL << 20;  // bytes of samples before they are written

json::array sample_of(std::int64_t time, double value) {
  std::string text;
  base::append_go_json(text, value);
  return {static_cast<double>(time) / 1000, text};
}

json::object metric_of(const knowledge::Labels& labels) {
  json::object out;
  for (const auto& label : labels) out[label.name] = label.value;
  return out;
}

json::value to_json(const promql::Value& value, std::int64_t time) {
  json::value result;
  if (const auto* vector = std::get_if<promql::Vector>(&value)) {
    json::array& all = result.emplace_array();
    for (const auto& one : *vector) {
      all.push_back({{"metric", metric_of(one.labels)}, {"value", sample_of(one.time, one.value)}});
    }
  } else if (const auto* matrix = std::get_if<promql::Matrix>(&value)) {
    json::array& all = result.emplace_array();
    for (const auto& one : *matrix) {
      json::array values;
      for (std::size_t i = 0; i < one.samples.size(); ++i)
        values.push_back(sample_of(one.samples.times[i], one.samples.values[i]));
      all.push_back({{"metric", metric_of(one.labels)}, {"values", std::move(values)}});
    }
  } else if (const auto* scalar = std::get_if<promql::Scalar>(&value)) {
    result = sample_of(scalar->time, scalar->value);
  } else {
    result = {static_cast<double>(time) / 1000, std::get<std::string>(value)};
  }
  return {{"resultType", std::string(to_string(promql::type_of(value)))},
          {"result", std::move(result)}};
}

Result<std::int64_t> time_of(std::string_view name, const std::string& text) {
  const auto time = base::parse_time(text);
  if (!time) return fail(Errc::kInvalidArgument, "{}: {}", name, time.error().message());
  return base::to_unix_millis(*time);
}

}  // namespace

Result<std::unique_ptr<StoppedHistory>> StoppedHistory::open(const StoppedFlags& flags,
                                                             Access access) {
  const std::string directory = flags.data_dir + "/history";
  if (access == Access::kRead && !std::filesystem::exists(directory))
    return fail(Errc::kNotFound, "{}: there is no history", directory);
  auto lock = DirectoryLock::take(flags.data_dir);
  if (!lock && lock.error().code() == Errc::kConflict)
    return fail(Errc::kConflict,
                "{}: an agent runs on this directory; leave out --data-dir to talk to it",
                flags.data_dir);
  if (!lock) return propagate(std::move(lock));
  std::unique_ptr<StoppedHistory> made(new StoppedHistory(std::move(*lock)));
  knowledge::HistoryDisk disk{.directory = directory,
                              .bytes = std::numeric_limits<std::uint64_t>::max() / 2,
                              .tiers = {},
                              .key_file = flags.key_file,
                              .by = knowledge::HistoryDisk::Opened::kTool};
  if (Status opened = made->history_.open_disk(made->clock_, std::move(disk)); !opened)
    return std::unexpected(opened.error());
  if (made->history_.stats().disk_unusable > 0) {
    fmt::print(stderr, "{}: some files cannot be read (see above); they are left out\n", directory);
  }
  return made;
}

std::int64_t StoppedHistory::newest() const {
  std::int64_t newest = 0;
  for (const knowledge::SeriesId id : registry_.select({})) {
    const auto latest = history_.latest(id);
    if (latest) newest = std::max(newest, latest->time);
  }
  return newest;
}

Result<json::value> ask_stopped(StoppedHistory& stopped, const StoppedQuery& asked) {
  const auto query = promql::Query::parse(asked.expression);
  if (!query) return std::unexpected(query.error());
  const knowledge::TierWatch watch(stopped.history());
  const knowledge::WithModels data(watch, analyze::standard_models());
  promql::Account account;
  promql::Limits limits;
  limits.account = &account;
  promql::Value value;
  std::int64_t time = 0;
  if (asked.start.empty()) {
    const auto at =
        asked.time.empty() ? Result<std::int64_t>(stopped.newest()) : time_of("--time", asked.time);
    if (!at) return std::unexpected(at.error());
    time = *at;
    auto result = query->instant(data, time, limits);
    if (!result) return std::unexpected(result.error());
    value = std::move(*result);
  } else {
    const auto start = time_of("--start", asked.start);
    if (!start) return std::unexpected(start.error());
    const auto end = time_of("--end", asked.end);
    if (!end) return std::unexpected(end.error());
    const auto seconds = base::parse_double(asked.step);
    const auto step = seconds ? Result<Millis>(Millis(static_cast<std::int64_t>(*seconds * 1000)))
                              : base::parse_duration(asked.step);
    if (!step) return fail(Errc::kInvalidArgument, "--step: {}", step.error().message());
    auto result = query->range(data, *start, *end, step->count(), limits);
    if (!result) return std::unexpected(result.error());
    value = std::move(*result);
  }
  json::object answer = {{"status", "success"}, {"data", to_json(value, time)}};
  if (watch.coarsest() > 0) {
    account.infos.push_back(
        fmt::format("served from the tier of {}", base::format_duration(Millis(watch.coarsest()))));
  }
  const auto add = [&](const char* kind, const std::vector<std::string>& notes) {
    if (!notes.empty()) answer[kind] = json::array(notes.begin(), notes.end());
  };
  add("warnings", account.warnings);
  add("infos", account.infos);
  return json::value(std::move(answer));
}

int import_to_stopped(const StoppedFlags& flags, const std::string& path) {
#ifdef M_TRIM_THRESHOLD
  // Windows of samples come and go: memory that is given back is cleared when it comes again, which
  // is a third of the whole import's time.
  ::mallopt(M_TRIM_THRESHOLD, static_cast<int>(kMostWaiting / 2));
  ::mallopt(M_MMAP_THRESHOLD, static_cast<int>(kMostWaiting / 2));
#endif
  auto file = GzipFile::open(path);
  if (!file) return report(file.error());
  auto stopped = StoppedHistory::open(flags, StoppedHistory::Access::kWrite);
  if (!stopped) return report(stopped.error());
  knowledge::Backfill backfill((*stopped)->registry(), (*stopped)->history(), kMostWaiting);
  const base::SystemClock clock;
  const std::int64_t latest = base::to_unix_millis(clock.wall() + knowledge::Importer::kMostAhead);
  ImportTally tally;
  Status disk;  // what made it impossible to go on
  knowledge::OpenMetricsReader reader(
      [&](const knowledge::Labels& labels, std::uint64_t series, std::int64_t time,
          double value) -> Status {
        // Such samples would hide from every retention, and rows of the agent come before them.
        if (time > latest) return fail(Errc::kInvalidArgument, "in the future");
        Status added = backfill.add(labels, series, time, value);
        const bool is_over_limit = !added && added.error().code() == Errc::kExhausted;
        if (is_over_limit) ++tally.over_limit;
        if (!added && !is_over_limit) disk = added;
        return added;
      },
      [&](std::uint64_t line, const std::string& message) {
        if (++tally.refused <= ImportTally::kShown)
          fmt::print(stderr, "line {}: {}\n", line, message);
      });
  while (disk) {
    const auto part = file->read();
    if (!part) {
      disk = std::unexpected(part.error());
    } else if (part->empty()) {
      break;
    } else {
      reader.feed(*part);
    }
  }
  reader.finish();
  if (Status written = backfill.flush(); !written && disk) disk = written;
  tally.imported = backfill.stored();
  tally.held = backfill.held();
  tally.refused += backfill.lost();
  const int code = report_import(path, tally);
  return disk ? code : report(disk.error());
}

}  // namespace nexus::agent

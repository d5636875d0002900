// redis: a Redis or Valkey server: INFO in full, SLOWLOG, LATENCY LATEST and HISTOGRAM, two
// settings; never KEYS or MONITOR, nor any command whose cost grows with what is stored.
//
// A number of INFO that redis_exporter does not know is redis_FIELD, so that a newer server shows
// what it has. What an access control list forbids fails that run and is left out for a while.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/redis_info.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/drivers/redis.hpp"

namespace nexus::monitor {
namespace {

using namespace std::chrono_literals;
using drivers::Redis;
using drivers::RedisReply;

constexpr Millis kRefusedPause = 5min;
constexpr Millis kSettingsPace = 1min;
constexpr std::size_t kMostFields = 600;    // of INFO, whatever a server says
constexpr std::size_t kMostCommands = 400;  // command statistics
constexpr std::size_t kLongestCommand = 64;
constexpr double kMicro = 1e-6;
constexpr double kMilli = 1e-3;

constexpr auto kGauge = MetricType::kGauge;
constexpr auto kCounter = MetricType::kCounter;

constexpr std::array kMetrics = {
    MetricDescriptor{"redis_up", kGauge, "Information about the Redis instance"},
    MetricDescriptor{"redis_exporter_last_scrape_ping_time_seconds", kGauge,
                     "How long the answer to PING took"},
    MetricDescriptor{"redis_instance_info", kGauge, "Information about the Redis instance"},
    MetricDescriptor{"redis_start_time_seconds", kGauge,
                     "Start time of the Redis instance since unix epoch in seconds."},
    MetricDescriptor{"redis_db_keys", kGauge, "Total number of keys by DB"},
    MetricDescriptor{"redis_db_keys_expiring", kGauge, "Total number of expiring keys by DB"},
    MetricDescriptor{"redis_db_avg_ttl_seconds", kGauge, "Avg TTL in seconds"},
    MetricDescriptor{"redis_commands_total", kCounter, "Total number of calls per command"},
    MetricDescriptor{"redis_commands_duration_seconds_total", kCounter,
                     "Total amount of time in seconds spent per command"},
    MetricDescriptor{"redis_commands_rejected_calls_total", kCounter,
                     "Total number of errors within command execution per command"},
    MetricDescriptor{"redis_commands_failed_calls_total", kCounter,
                     "Total number of errors prior command execution per command"},
    MetricDescriptor{"redis_latency_percentiles_usec", MetricType::kSummary,
                     "A summary of latency percentile distribution per command"},
    MetricDescriptor{"redis_errors_total", kCounter, "Total number of errors per error type"},
    MetricDescriptor{"redis_connected_slave_offset_bytes", kGauge, "Offset of connected slave"},
    MetricDescriptor{"redis_connected_slave_lag_seconds", kGauge, "Lag of connected slave"},
    MetricDescriptor{"redis_master_link_up", kGauge, "Master link status on Redis slave"},
    MetricDescriptor{"redis_master_sync_in_progress", kGauge, "Master sync in progress"},
    MetricDescriptor{"redis_master_last_io_seconds_ago", kGauge, "Master last io seconds ago"},
    MetricDescriptor{"redis_slave_repl_offset", kGauge, "Slave replication offset"},
    MetricDescriptor{"redis_slave_info", kGauge, "Information about the Redis slave"},
    MetricDescriptor{"redis_slowlog_length", kGauge, "Total slowlog"},
    MetricDescriptor{"redis_slowlog_last_id", kGauge, "Last id of slowlog"},
    MetricDescriptor{"redis_last_slow_execution_duration_seconds", kGauge,
                     "The amount of time needed for last slow execution, in seconds"},
    MetricDescriptor{"redis_slowlog_entries", kGauge,
                     "Entries of a command among the last ones of the slowlog"},
    MetricDescriptor{"redis_slowlog_longest_seconds", kGauge,
                     "Longest execution of a command among the last entries of the slowlog"},
    MetricDescriptor{"redis_config_maxclients", kGauge, "maxclients of the configuration"},
    MetricDescriptor{"redis_config_maxmemory", kGauge, "maxmemory of the configuration, in bytes"},
    MetricDescriptor{"redis_config_repl_backlog_size", kGauge,
                     "repl-backlog-size of the configuration, in bytes"},
    MetricDescriptor{"redis_config_io_threads", kGauge, "io-threads of the configuration"},
    MetricDescriptor{"redis_config_client_output_buffer_limit_bytes", kGauge,
                     "The configured buffer limits per class"},
    MetricDescriptor{
        "redis_config_client_output_buffer_limit_overcome_seconds", kGauge,
        "How long for buffer limits per class to be exceeded before replicas are dropped"},
    MetricDescriptor{"redis_commands_latencies_usec", MetricType::kHistogram,
                     "A histogram of latencies per command"},
    MetricDescriptor{"redis_latency_spike_last", kGauge, "When the latency spike last occurred"},
    MetricDescriptor{"redis_latency_spike_duration_seconds", kGauge,
                     "Length of the last latency spike in seconds"},
    MetricDescriptor{"redis_*", MetricType::kUntyped,
                     "Other numbers of INFO, named as by redis_exporter"},
};
enum Metric : std::size_t {
  kUp,
  kPing,
  kInstance,
  kStart,
  kKeys,
  kExpiring,
  kTtl,
  kCommands,
  kCommandSeconds,
  kRejected,
  kFailed,
  kPercentiles,
  kErrors,
  kSlaveOffset,
  kSlaveLag,
  kLinkUp,
  kSyncing,
  kLastIo,
  kReplOffset,
  kSlaveInfo,
  kSlowLength,
  kSlowLast,
  kSlowDuration,
  kSlowEntries,
  kSlowLongest,
  kConfigClients,
  kConfigMemory,
  kConfigBacklog,
  kConfigThreads,
  kBufferLimit,
  kBufferSeconds,
  kLatencies,
  kSpikeLast,
  kSpikeDuration,
  kNamedMetrics
};
static_assert(kNamedMetrics + 1 == kMetrics.size());

bool is_plain(std::string_view name) {
  return !name.empty() && name.size() <= 100 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

/// Whether an access control list or the server's operator keeps a command from this user.
bool is_hidden(const Error& error) {
  return error.code() == Errc::kPermissionDenied || error.code() == Errc::kUnsupported;
}

/// INFO's fields by name; those of one section that are not names of numbers are told apart by it.
using Fields = std::map<std::string_view, std::string_view, std::less<>>;

std::string_view get(const Fields& fields, std::string_view name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string_view() : found->second;
}

class RedisCollector final : public Collector {
 public:
  RedisCollector(const CollectorContext& context, const config::RedisSection& section)
      : clock_(context.clock),
        registry_(context.registry),
        section_(section),
        server_(context.clock, section) {
    for (std::size_t i = 0; i < kNamedMetrics; ++i)
      families_[i] = registry_.family(kMetrics[i].name, kMetrics[i].type, kMetrics[i].help);
  }

  Status collect(Sink& sink) override {
    const SteadyTime deadline = clock_.steady() + section_.timeout;
    Status status = server_.connect(deadline);
    if (status) status = ping(sink, deadline);
    auto info = status ? server_.command({"INFO", "all"}, deadline)
                       : Result<RedisReply>(std::unexpected(status.error()));
    if (!info) {
      sink.add(families_[kUp], 0);
      return propagate(std::move(info));
    }
    add_info(sink, info->text);
    Status first;
    for (Extra& extra : extras_) {
      if (clock_.steady() < extra.next) continue;
      Status done = (this->*extra.add)(sink, deadline);
      if (done) continue;
      if (is_hidden(done.error())) extra.next = clock_.steady() + kRefusedPause;
      if (first) first = std::move(done);
      if (!server_.connected()) break;
    }
    sink.add(families_[kUp], server_.connected() ? 1 : 0);
    return first;
  }

 private:
  struct Extra {
    Status (RedisCollector::*add)(Sink& sink, SteadyTime deadline);
    SteadyTime next{};
  };

  Status ping(Sink& sink, SteadyTime deadline) {
    const SteadyTime begun = clock_.steady();
    auto pong = server_.command({"PING"}, deadline);
    // A list may forbid it and allow the rest; then there is no such number.
    if (!pong && pong.error().code() != Errc::kPermissionDenied) return propagate(std::move(pong));
    if (pong)
      sink.add(families_[kPing], std::chrono::duration<double>(clock_.steady() - begun).count());
    return {};
  }

  void add_info(Sink& sink, std::string_view text) {
    fields_.clear();
    calls_.clear();
    std::size_t commands = 0;
    each_redis_field(text,
                     [&](std::string_view section, std::string_view name, std::string_view value) {
                       if (section == "Keyspace") {
                         add_keyspace(sink, name, value);
                       } else if (section == "Commandstats" || section == "Latencystats" ||
                                  section == "Errorstats") {
                         if (++commands <= 3 * kMostCommands) add_statistics(sink, name, value);
                       } else if (section == "Replication" && is_slave(name)) {
                         add_slave(sink, value);
                       } else if (fields_.size() < kMostFields) {
                         fields_.emplace(name, value);
                       }
                     });
    for (const auto& [name, value] : fields_) add_field(sink, name, value);
    add_replication(sink);
    add_instance(sink);
  }

  void add_field(Sink& sink, std::string_view name, std::string_view value) {
    if (name.starts_with("master_") && name != "master_repl_offset") return;  // with their labels
    const RedisField* const field = find_redis_field(name);
    const bool ignored = field == nullptr && is_ignored_redis_field(name);
    if (name == "slave_repl_offset" || ignored || !is_plain(name)) return;
    const auto number = parse_redis_value(value);
    if (!number) return;
    auto known = numbers_.find(name);
    if (known == numbers_.end()) {
      if (numbers_.size() >= 2 * kMostFields) return;  // a server that invents names
      const auto metric = fmt::format("redis_{}", field != nullptr ? field->metric : name);
      const auto family =
          registry_.family(metric, field != nullptr ? field->type : MetricType::kUntyped,
                           fmt::format("{} of INFO", name));
      known = numbers_.emplace(std::string(name), family).first;
    }
    const bool in_seconds =
        field != nullptr && name.ends_with("_usec") && field->metric.ends_with("_seconds");
    sink.add(known->second, in_seconds ? *number * kMicro : *number);
  }

  void add_keyspace(Sink& sink, std::string_view db, std::string_view parts) const {
    const auto keys = base::parse_double(redis_part(parts, "keys"));
    if (!db.starts_with("db") || !is_plain(db) || !keys) return;
    sink.add(families_[kKeys], {{"db", db}}, *keys);
    sink.add(families_[kExpiring], {{"db", db}},
             base::parse_double(redis_part(parts, "expires")).value_or(0));
    if (const auto ttl = base::parse_double(redis_part(parts, "avg_ttl")))
      sink.add(families_[kTtl], {{"db", db}}, *ttl * kMilli);
  }

  void add_statistics(Sink& sink, std::string_view name, std::string_view parts) {
    constexpr std::string_view kCommand = "cmdstat_";
    constexpr std::string_view kLatency = "latency_percentiles_usec_";
    constexpr std::string_view kError = "errorstat_";
    const auto number = [&](std::string_view key) {
      return base::parse_double(redis_part(parts, key));
    };
    const auto add = [&](Metric metric, std::string_view label, std::string_view value,
                         std::optional<double> sample) {
      if (sample) sink.add(families_[metric], {{label, value}}, *sample);
    };
    if (name.starts_with(kCommand)) {
      const auto command = base::sanitize_utf8(name.substr(kCommand.size()));
      add(kCommands, "cmd", command, number("calls"));
      calls_.insert_or_assign(command,
                              std::pair(number("calls").value_or(0), number("usec").value_or(0)));
      if (const auto micros = number("usec"))
        add(kCommandSeconds, "cmd", command, *micros * kMicro);
      add(kRejected, "cmd", command, number("rejected_calls"));
      add(kFailed, "cmd", command, number("failed_calls"));
    } else if (name.starts_with(kLatency)) {
      const auto command = base::sanitize_utf8(name.substr(kLatency.size()));
      // INFO has the sum and the count with the statistics of commands, which come before.
      if (const auto calls = calls_.find(command); calls != calls_.end()) {
        const LabelView labels[] = {{"cmd", command}};
        sink.add_named(families_[kPercentiles], "redis_latency_percentiles_usec_sum", labels,
                       calls->second.second);
        sink.add_named(families_[kPercentiles], "redis_latency_percentiles_usec_count", labels,
                       calls->second.first);
      }
      while (!parts.empty()) {
        std::string_view part = base::take_until(parts, ',');
        const auto percentile = base::take_until(part, '=');
        const auto rank = base::parse_double(percentile.substr(percentile.empty() ? 0 : 1));
        const auto micros = base::parse_double(part);
        if (!rank || !micros || !percentile.starts_with('p')) continue;
        sink.add(
            families_[kPercentiles],
            {{"cmd", command}, {"quantile", base::format_double(std::round(*rank * 1e6) / 1e8)}},
            *micros);
      }
    } else if (name.starts_with(kError)) {
      add(kErrors, "err", base::sanitize_utf8(name.substr(kError.size())), number("count"));
    }
  }

  /// slave0, slave1, ...
  static bool is_slave(std::string_view name) {
    return name.starts_with("slave") && name.size() > 5 &&
           base::parse_uint(name.substr(5)).has_value();
  }

  void add_slave(Sink& sink, std::string_view parts) const {
    const auto ip = base::sanitize_utf8(redis_part(parts, "ip"));
    const auto port = base::sanitize_utf8(redis_part(parts, "port"));
    const auto state = base::sanitize_utf8(redis_part(parts, "state"));
    const auto add = [&](Metric metric, std::optional<double> value) {
      if (!value) return;
      sink.add(families_[metric], {{"slave_ip", ip}, {"slave_port", port}, {"slave_state", state}},
               *value);
    };
    add(kSlaveOffset, base::parse_double(redis_part(parts, "offset")));
    const auto lag = base::parse_double(redis_part(parts, "lag"));
    if (lag && *lag >= 0) add(kSlaveLag, lag);
  }

  void add_replication(Sink& sink) const {
    const auto host = base::sanitize_utf8(get(fields_, "master_host"));
    if (host.empty()) return;
    const auto port = base::sanitize_utf8(get(fields_, "master_port"));
    const auto add = [&](Metric metric, std::string_view field) {
      if (const auto value = parse_redis_value(get(fields_, field)))
        sink.add(families_[metric], {{"master_host", host}, {"master_port", port}}, *value);
    };
    add(kLinkUp, "master_link_status");
    add(kSyncing, "master_sync_in_progress");
    add(kLastIo, "master_last_io_seconds_ago");
    add(kReplOffset, "slave_repl_offset");
    sink.add(families_[kSlaveInfo],
             {{"master_host", host},
              {"master_port", port},
              {"read_only", base::sanitize_utf8(get(fields_, "slave_read_only"))}},
             1);
  }

  void add_instance(Sink& sink) const {
    static constexpr std::array<std::string_view, 10> kLabels = {
        "role",     "redis_version", "redis_build_id", "redis_mode",   "os", "maxmemory_policy",
        "tcp_port", "run_id",        "process_id",     "master_replid"};
    std::array<std::string, kLabels.size()> values;
    std::array<LabelView, kLabels.size()> labels;
    for (std::size_t i = 0; i < kLabels.size(); ++i) {
      values[i] = base::sanitize_utf8(get(fields_, kLabels[i]));
      labels[i] = {kLabels[i], values[i]};
    }
    sink.add(families_[kInstance], labels, 1);
    if (const auto clients = base::parse_double(get(fields_, "maxclients")))
      sink.add(families_[kConfigClients], *clients);
    if (const auto memory = base::parse_double(get(fields_, "maxmemory")))
      sink.add(families_[kConfigMemory], *memory);
    if (const auto backlog = base::parse_double(get(fields_, "repl_backlog_size")))
      sink.add(families_[kConfigBacklog], *backlog);
    if (const auto uptime = base::parse_double(get(fields_, "uptime_in_seconds"))) {
      // In whole seconds, and the same one run after run unless it was started again.
      const auto now = static_cast<double>(base::to_unix_millis(clock_.wall()) / 1000);
      const double start = now - *uptime;
      if (std::abs(start - start_) > 2) start_ = start;
      sink.add(families_[kStart], start_);
    }
  }

  Status add_slowlog(Sink& sink, SteadyTime deadline) {
    auto length = server_.command({"SLOWLOG", "LEN"}, deadline);
    if (!length) return propagate(std::move(length));
    sink.add(families_[kSlowLength], static_cast<double>(length->integer));
    if (section_.slowlog_entries == 0) return {};
    auto entries =
        server_.command({"SLOWLOG", "GET", std::to_string(section_.slowlog_entries)}, deadline);
    if (!entries) return propagate(std::move(entries));
    struct Slow {
      std::size_t entries = 0;
      double longest = 0;
    };
    std::map<std::string, Slow> by_command;  // its name only: arguments are other people's data
    bool newest = true;
    for (const RedisReply& entry : entries->elements) {
      if (entry.elements.size() < 4) continue;
      const double seconds = static_cast<double>(entry.elements[2].integer) * kMicro;
      if (std::exchange(newest, false)) {
        sink.add(families_[kSlowLast], static_cast<double>(entry.elements[0].integer));
        sink.add(families_[kSlowDuration], seconds);
      }
      const auto& words = entry.elements[3].elements;
      std::string command = words.empty() ? "" : words[0].text.substr(0, kLongestCommand);
      std::ranges::transform(command, command.begin(),
                             [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
      Slow& slow = by_command[base::sanitize_utf8(command)];
      ++slow.entries;
      slow.longest = std::max(slow.longest, seconds);
    }
    if (newest) {  // there is none: 0, as redis_exporter has it
      sink.add(families_[kSlowLast], 0);
      sink.add(families_[kSlowDuration], 0);
    }
    for (const auto& [command, slow] : by_command) {
      sink.add(families_[kSlowEntries], {{"cmd", command}}, static_cast<double>(slow.entries));
      sink.add(families_[kSlowLongest], {{"cmd", command}}, slow.longest);
    }
    return {};
  }

  Status add_latency(Sink& sink, SteadyTime deadline) {
    auto events = server_.command({"LATENCY", "LATEST"}, deadline);
    if (!events) return propagate(std::move(events));
    for (const RedisReply& event : events->elements) {
      if (event.elements.size() < 3) continue;
      const auto name = base::sanitize_utf8(event.elements[0].text);
      sink.add(families_[kSpikeLast], {{"event_name", name}},
               static_cast<double>(event.elements[1].integer));
      sink.add(families_[kSpikeDuration], {{"event_name", name}},
               static_cast<double>(event.elements[2].integer) * kMilli);
    }
    return {};
  }

  /// The distribution of each command's run times (Redis 7 and later). Who may not ask for it lacks
  /// these only.
  Status add_latencies(Sink& sink, SteadyTime deadline) {
    std::string_view version = get(fields_, "redis_version");
    if (base::parse_uint(base::take_until(version, '.')).value_or(0) < 7) return {};
    if (clock_.steady() < next_latencies_) return {};
    auto all = server_.command({"LATENCY", "HISTOGRAM"}, deadline);
    if (!all && is_hidden(all.error())) {
      next_latencies_ = clock_.steady() + kRefusedPause;
      return {};
    }
    if (!all) return propagate(std::move(all));
    const auto& flat = all->elements;  // name, [calls, N, histogram_usec, [le, count, ...]], ...
    for (std::size_t i = 0; i + 1 < flat.size() && i / 2 < kMostCommands; i += 2) {
      const auto& facts = flat[i + 1].elements;
      if (facts.size() < 4) continue;
      add_histogram(sink, base::sanitize_utf8(flat[i].text), facts[1].integer, facts[3].elements);
    }
    return {};
  }

  void add_histogram(Sink& sink, const std::string& command, std::int64_t calls,
                     const std::vector<RedisReply>& buckets) {
    const auto add = [&](std::string_view metric, std::span<const LabelView> labels, double value) {
      sink.add_named(families_[kLatencies], metric, labels, value);
    };
    const auto add_bucket = [&](std::string_view bound, double value) {
      add("redis_commands_latencies_usec_bucket",
          std::array{LabelView{"cmd", command}, LabelView{"le", bound}}, value);
    };
    for (std::size_t i = 0; i + 1 < buckets.size(); i += 2)
      add_bucket(std::to_string(buckets[i].integer), static_cast<double>(buckets[i + 1].integer));
    add_bucket("+Inf", static_cast<double>(calls));
    const std::array plain = {LabelView{"cmd", command}};
    const auto known = calls_.find(command);  // the sum is with the statistics of commands
    add("redis_commands_latencies_usec_sum", plain,
        known == calls_.end() ? 0 : known->second.second);
    add("redis_commands_latencies_usec_count", plain, static_cast<double>(calls));
  }

  /// By name, for a configuration holds passwords. Empty where the server has no such setting.
  Result<std::string> setting(std::string_view name, SteadyTime deadline) {
    auto pair = server_.command({"CONFIG", "GET", std::string(name)}, deadline);
    if (!pair) return propagate(std::move(pair));
    return pair->elements.size() < 2 ? std::string() : pair->elements[1].text;
  }

  /// Asked once a minute and repeated in between. Who may not ask for them lacks these only.
  Status add_settings(Sink& sink, SteadyTime deadline) {
    if (const SteadyTime now = clock_.steady(); now >= next_settings_) {
      io_threads_.clear();
      buffer_limits_.clear();
      auto threads = setting("io-threads", deadline);
      auto limits = threads ? setting("client-output-buffer-limit", deadline)
                            : Result<std::string>(std::unexpected(threads.error()));
      const bool hidden = !limits && is_hidden(limits.error());
      if (!limits && !hidden) return std::unexpected(limits.error());
      next_settings_ = now + (hidden ? kRefusedPause : kSettingsPace);
      if (hidden) return {};
      io_threads_ = *std::move(threads);
      buffer_limits_ = *std::move(limits);
    }
    if (const auto count = base::parse_double(io_threads_))
      sink.add(families_[kConfigThreads], *count);
    // Four words a class: its name, the hard limit, the soft one, and its seconds.
    std::string_view rest = buffer_limits_;
    while (!rest.empty()) {
      const auto kind = base::sanitize_utf8(base::take_until(rest, ' '));
      const auto hard = base::parse_double(base::take_until(rest, ' '));
      const auto soft = base::parse_double(base::take_until(rest, ' '));
      const auto seconds = base::parse_double(base::take_until(rest, ' '));
      if (!hard || !soft || !seconds) break;
      sink.add(families_[kBufferLimit], {{"class", kind}, {"limit", "hard"}}, *hard);
      sink.add(families_[kBufferLimit], {{"class", kind}, {"limit", "soft"}}, *soft);
      sink.add(families_[kBufferSeconds], {{"class", kind}, {"limit", "soft"}}, *seconds);
    }
    return {};
  }

  Clock& clock_;
  knowledge::SeriesRegistry& registry_;
  const config::RedisSection section_;
  Redis server_;
  std::array<FamilyId, kNamedMetrics> families_{};
  std::map<std::string, FamilyId, std::less<>> numbers_;  // by field of INFO
  std::array<Extra, 4> extras_ = {
      Extra{&RedisCollector::add_slowlog, {}}, Extra{&RedisCollector::add_latency, {}},
      Extra{&RedisCollector::add_latencies, {}}, Extra{&RedisCollector::add_settings, {}}};
  Fields fields_;  // views into the reply of the present run
  std::map<std::string, std::pair<double, double>, std::less<>> calls_;  // and their microseconds
  SteadyTime next_settings_{};
  SteadyTime next_latencies_{};
  std::string io_threads_;  // of the configuration, as the server has them
  std::string buffer_limits_;
  mutable double start_ = 0;  // of the server
};

class NoRedis final : public Collector {
 public:
  Status collect(Sink& /*sink*/) override { return fail(Errc::kNotFound, "[redis] names no host"); }
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  if (context.connections == nullptr || context.connections->redis.host.empty())
    return std::make_unique<NoRedis>();
  return std::make_unique<RedisCollector>(context, context.connections->redis);
}

}  // namespace

const CollectorDescriptor kRedisCollector = {
    .name = "redis",
    .help = "A Redis or Valkey server: see [redis].",
    .default_interval = Millis(5'000),
    .remote = true,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor

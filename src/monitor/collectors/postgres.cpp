// postgres: a PostgreSQL server, over one connection that only reads and never waits long.
//
// What is dear (tables, sizes, statements) is read every slow_interval and repeated in between. A
// statement that the server refuses for good (a missing privilege, a view that is not there) or
// gives up because it takes too long fails that run, and is left out for a while; the others go
// on, in what is left of the run's time. A server that does not answer in time ends the run with
// pg_up 0.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "monitor/families.hpp"
#include "monitor/postgres_queries.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/drivers/postgres.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kPostgresCollector;  // of table.cpp

namespace {

using namespace std::chrono_literals;
using drivers::Postgres;
using drivers::PostgresResult;

constexpr Millis kRefusedPause = 5min;
constexpr Millis kTooSlowPause = 1min;
constexpr Millis kLockTimeout = 100ms;
// The server gives a statement up a little before this side does, so that the connection stays.
constexpr Millis kAnswerTime = 250ms;

constexpr std::array kOwn = {
    MetricDescriptor{"pg_up", MetricType::kGauge,
                     "Whether the last scrape of metrics from PostgreSQL was able to connect to "
                     "the server (1 for yes, 0 for no)."},
};

/// Of all queries; a name may stand in more than one.
std::vector<MetricDescriptor> all_metrics() {
  std::vector<MetricDescriptor> all(kOwn.begin(), kOwn.end());
  for (const auto queries : {postgres_queries(), postgres_slow_queries()}) {
    for (const auto& query : queries) {
      for (const auto& one : query.metrics) all.push_back(one.metric);
    }
  }
  return all;
}
const std::vector<MetricDescriptor>& metrics() {
  static const std::vector<MetricDescriptor> all = all_metrics();
  return all;
}

Millis answer_time(const config::PostgresSection& section) {
  return std::min(kAnswerTime, section.timeout / 4);
}

/// Half of a run, so that one that takes too long leaves time for the others.
Millis longest_statement(const config::PostgresSection& section) {
  return std::max(section.timeout / 2, Millis(1));
}

Postgres::Settings session_settings(const config::PostgresSection& section) {
  return {{"statement_timeout", std::to_string(longest_statement(section).count())},
          {"lock_timeout", std::to_string(kLockTimeout.count())},
          {"default_transaction_read_only", "on"},
          {"idle_in_transaction_session_timeout", "10000"},
          {"search_path", "pg_catalog"},
          {"datestyle", "ISO"},
          {"intervalstyle", "postgres"}};
}

/// Whether asking again soon cannot help.
bool is_lasting(Errc code) {
  return code == Errc::kPermissionDenied || code == Errc::kNotFound ||
         code == Errc::kInvalidArgument || code == Errc::kUnsupported;
}

class PostgresCollector final : public Collector {
 public:
  PostgresCollector(const CollectorContext& context, const config::PostgresSection& section)
      : clock_(context.clock),
        registry_(context.registry),
        section_(section),
        server_(context.clock, section, session_settings(section)),
        up_(context.registry.family(kOwn[0].name, kOwn[0].type, kOwn[0].help)) {
    for (const auto queries : {postgres_queries(), postgres_slow_queries()}) {
      for (const auto& query : queries) add_query(context, query);
    }
  }

  Status collect(Sink& sink) override {
    const SteadyTime deadline = clock_.steady() + section_.timeout;
    auto ready = prepare(deadline);
    if (!ready) {
      sink.add(up_, 0);
      // kNotFound is for hosts without the thing, and this one is told to have it.
      return fail(
          ready.error().code() == Errc::kNotFound ? Errc::kUnavailable : ready.error().code(), "{}",
          ready.error().message());
    }
    Status first;
    for (Asked& asked : asked_) {
      Status status = ask(asked, deadline);
      if (status) {
        add(sink, asked);
        continue;
      }
      const bool too_slow = status.error().code() == Errc::kTimeout;
      if (first) first = std::move(status);
      if (server_.connected() && too_slow) status = limit_statements(deadline);
      if (!server_.connected()) break;
    }
    sink.add(up_, server_.connected() ? 1 : 0);
    if (!first && first.error().code() == Errc::kNotFound)
      return fail(Errc::kUnavailable, "{}", first.error().message());
    return first;
  }

 private:
  /// A statement, and what it last brought.
  struct Asked {
    const PostgresQuery* query = nullptr;
    std::vector<FamilyId> families;  // of its metrics
    std::string sql;                 // empty: not on this server
    SteadyTime next{};
    PostgresResult result;
    std::vector<std::optional<std::size_t>> values;  // columns of the metrics
    std::vector<std::size_t> labels;                 // columns of the labels
    // Where one metric stands for many: those of the rows, by name, and where name and help are.
    std::optional<std::size_t> name;
    std::optional<std::size_t> help;
    std::unordered_map<std::string, FamilyId> named;
  };

  static bool names_rows(const PostgresQuery& query) {
    return query.metrics.front().metric.name.ends_with('*');
  }

  void add_query(const CollectorContext& context, const PostgresQuery& query) {
    Asked& asked = asked_.emplace_back();
    asked.query = &query;
    if (names_rows(query)) return;
    for (const auto& one : query.metrics) {
      asked.families.push_back(
          context.registry.family(one.metric.name, one.metric.type, one.metric.help));
    }
  }

  /// A connection, and statements that fit to what is at its other end.
  Status prepare(SteadyTime deadline) {
    if (auto connected = server_.connect(deadline); !connected) return connected;
    const SteadyTime now = clock_.steady();
    if (server_.connections() != facts_of_) limit_ = longest_statement(section_);
    if (Status limited = limit_statements(deadline); !limited) return limited;
    if (limit_ == Millis(0)) return fail(Errc::kTimeout, "no time is left after connecting");
    if (server_.connections() == facts_of_ && now < next_facts_) return {};
    auto facts = learn(deadline);
    if (!facts) return propagate(std::move(facts));
    next_facts_ = now + section_.slow_interval;
    const bool same_server = server_.connections() == facts_of_ && *facts == facts_;
    facts_of_ = server_.connections();
    if (same_server) return {};
    facts_ = *std::move(facts);
    for (Asked& asked : asked_) {
      const bool wanted =
          asked.query->bound == PostgresBound::kNone ||
          (asked.query->bound == PostgresBound::kTables ? section_.max_tables
                                                        : section_.max_statements) > 0;
      asked.sql = wanted ? asked.query->sql(facts_) : std::string();
      asked.next = {};
      asked.result = {};
    }
    return {};
  }

  /// So that the server gives up before this side does, which would cost the connection.
  Status limit_statements(SteadyTime deadline) {
    const auto left =
        std::chrono::duration_cast<Millis>(deadline - clock_.steady()) - answer_time(section_);
    const Millis limit = std::clamp(left, Millis(0), longest_statement(section_));
    if (limit > Millis(0) && limit != limit_) {
      auto done = server_.query(fmt::format("SET statement_timeout = {}", limit.count()), deadline);
      if (!done) return propagate(std::move(done), "statement_timeout");
    }
    limit_ = limit;  // 0: nothing is asked any more
    return {};
  }

  Result<PostgresFacts> learn(SteadyTime deadline) {
    PostgresFacts facts;
    facts.version = server_.server_version();
    if (facts.version < kOldestPostgres)
      return fail(Errc::kUnsupported, "PostgreSQL {}.{} is too old; expected 12 or later",
                  facts.version / 10'000, facts.version % 10'000);
    auto found = server_.query(
        "SELECT extversion, quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n "
        "ON n.oid = e.extnamespace WHERE extname = 'pg_stat_statements'",
        deadline);
    if (!found) return propagate(std::move(found));
    if (found->rows() > 0) {
      facts.statements_version = parse_extension_version(found->at(0, 0).value_or(""));
      facts.statements_schema = found->at(0, 1).value_or("public");
    }
    return facts;
  }

  Status ask(Asked& asked, SteadyTime deadline) {
    const SteadyTime now = clock_.steady();
    if (asked.sql.empty() || now < asked.next) return {};
    if (limit_ == Millis(0))
      return fail(Errc::kExhausted, "{}: not asked, the run's time is used up", asked.query->name);
    std::vector<PostgresResult::Value> parameters;
    if (asked.query->bound != PostgresBound::kNone) {
      const bool tables = asked.query->bound == PostgresBound::kTables;
      parameters.emplace_back(
          std::to_string(tables ? section_.max_tables : section_.max_statements));
    }
    if (asked.sql.contains("$2"))
      parameters.emplace_back(std::to_string(section_.statement_length));
    auto result = server_.query(asked.sql, deadline, parameters);
    if (!result) {
      asked.result = {};
      if (is_lasting(result.error().code())) asked.next = now + kRefusedPause;
      if (server_.connected() && result.error().code() == Errc::kTimeout)
        asked.next = now + kTooSlowPause;
      return propagate(std::move(result), "{}", asked.query->name);
    }
    if (asked.query->pace == PostgresPace::kSlow) asked.next = now + section_.slow_interval;
    asked.result = *std::move(result);
    place_columns(asked);
    return {};
  }

  static void place_columns(Asked& asked) {
    asked.values.clear();
    asked.labels.clear();
    asked.name = asked.result.column("name");
    asked.help = asked.result.column("help");
    for (const auto& one : asked.query->metrics)
      asked.values.push_back(asked.result.column(one.column));
    for (std::size_t i = 0; i < asked.result.columns().size(); ++i) {
      if (std::ranges::find(asked.values, std::optional(i)) == asked.values.end())
        asked.labels.push_back(i);
    }
  }

  /// One metric a row.
  void add_named(Sink& sink, Asked& asked) {
    const PostgresResult& result = asked.result;
    if (!asked.name || !asked.values.front()) return;
    const MetricDescriptor& all = asked.query->metrics.front().metric;
    for (std::size_t row = 0; row < result.rows(); ++row) {
      const auto& text = result.at(row, *asked.values.front());
      const auto number = text ? base::parse_double(*text) : std::nullopt;
      if (!number) continue;
      std::string& name = texts_.empty() ? texts_.emplace_back() : texts_.front();
      name.assign(all.name, 0, all.name.size() - 1)
          .append(result.at(row, *asked.name).value_or(""));
      auto found = asked.named.find(name);
      if (found == asked.named.end()) {
        const std::string help =
            asked.help ? base::sanitize_utf8(result.at(row, *asked.help).value_or("")) : "";
        found = asked.named.emplace(name, registry_.family(name, all.type, help)).first;
      }
      labels_.clear();
      if (asked.query->names_server) labels_.push_back({"server", server_name_});
      sink.add(found->second, labels_, *number);
    }
  }

  void add(Sink& sink, Asked& asked) {
    if (names_rows(*asked.query)) return add_named(sink, asked);
    const PostgresResult& result = asked.result;
    for (std::size_t row = 0; row < result.rows(); ++row) {
      texts_.clear();
      labels_.clear();
      for (const std::size_t column : asked.labels)
        texts_.push_back(base::sanitize_utf8(result.at(row, column).value_or("")));
      for (std::size_t i = 0; i < texts_.size(); ++i)
        labels_.push_back({result.columns()[asked.labels[i]], texts_[i]});
      if (asked.query->names_server) labels_.push_back({"server", server_name_});
      for (std::size_t i = 0; i < asked.families.size(); ++i) {
        if (!asked.values[i]) continue;
        const auto& text = result.at(row, *asked.values[i]);
        if (!text) continue;
        const auto number = *text == "t"   ? std::optional(1.0)
                            : *text == "f" ? std::optional(0.0)
                                           : base::parse_double(*text);
        if (number) sink.add(asked.families[i], labels_, *number);
      }
    }
  }

  Clock& clock_;
  knowledge::SeriesRegistry& registry_;
  const config::PostgresSection section_;
  const std::string server_name_ = fmt::format("{}:{}", section_.host, section_.port);
  Postgres server_;
  Millis limit_ = longest_statement(section_);  // of a statement, on this connection
  const FamilyId up_;
  std::vector<Asked> asked_;
  PostgresFacts facts_;
  std::uint64_t facts_of_ = 0;  // the connection that facts_ came over
  SteadyTime next_facts_{};
  std::vector<std::string> texts_;  // scratch
  std::vector<LabelView> labels_;   // scratch
};

class NoPostgres final : public Collector {
 public:
  Status collect(Sink& /*sink*/) override {
    return fail(Errc::kNotFound, "[postgres] names no host");
  }
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  if (context.connections == nullptr || context.connections->postgres.host.empty())
    return std::make_unique<NoPostgres>();
  return std::make_unique<PostgresCollector>(context, context.connections->postgres);
}

}  // namespace

const CollectorDescriptor kPostgresCollector = {
    .name = "postgres",
    .help = "A PostgreSQL server, 12 or later: see [postgres].",
    .default_interval = Millis(15'000),  // as it would be scraped; every statement costs the server
    .remote = true,
    .metrics = metrics(),
    .make = make,
};

}  // namespace nexus::monitor

// optimize_database: VACUUM, ANALYZE or both of named tables of the configured PostgreSQL.
//
// Never VACUUM FULL, which locks everybody out. A table that somebody has locked is left alone
// after `lock_timeout`; the server itself ends what takes longer than `timeout`
// (statement_timeout). The server lets a VACUUM by somebody who may not end without an error: that
// is told from its own counts.
#include <boost/json.hpp>

#include <algorithm>
#include <array>

#include "execute/actions.hpp"
#include "execute/cleanup_plan.hpp"
#include "execute/parameter_values.hpp"
#include "execute/waiting.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/postgres.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using drivers::Postgres;

constexpr Millis kQueryLimit = 10s;
constexpr Millis kLongest = 24h;
constexpr std::size_t kMostTables = 20;
constexpr std::size_t kMostName = 63;

constexpr std::array<ParameterDescriptor, 5> kParameters{{
    {.name = "what",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "vacuum_analyze",
     .help = "vacuum, analyze or vacuum_analyze; never VACUUM FULL"},
    {.name = "tables",
     .type = ParameterType::kStrings,
     .required = false,
     .default_value = "",
     .help = "with the target \"postgres\": these tables, SCHEMA.TABLE, 20 at most"},
    {.name = "timeout",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "10m",
     .help = "for one table; the server ends what takes longer"},
    {.name = "lock_timeout",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "2s",
     .help = "a table that is locked for longer is left alone"},
    {.name = "max_size",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "50GiB",
     .help = "a table that is larger is refused"},
}};

struct Table {
  std::string schema;
  std::string name;
  [[nodiscard]] std::string shown() const { return schema + "." + name; }
};

std::string quoted(std::string_view identifier) {
  std::string out = "\"";
  for (const char c : identifier) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

/// "orders" is public.orders.
Result<Table> table_of(std::string_view text) {
  auto rest = text;
  std::string first(base::take_until(rest, '.'));
  const bool two = text.contains('.');
  Table out{two ? first : "public", two ? std::string(rest) : first};
  const auto is_name = [](const std::string& name) {
    return !name.empty() && name.size() <= kMostName && base::is_valid_utf8(name) &&
           std::ranges::none_of(name, [](unsigned char c) { return c < 0x20 || c == '.'; });
  };
  if (is_name(out.schema) && is_name(out.name)) return out;
  return fail(Errc::kInvalidArgument, "\"{}\": expected SCHEMA.TABLE", text);
}

struct Wish {
  bool vacuum = true;
  bool analyze = true;
  std::vector<Table> tables;
  Millis timeout{};
  Millis lock_timeout{};
  std::uint64_t max_size = 0;

  [[nodiscard]] std::string statement(const Table& table) const {
    const auto name = quoted(table.schema) + "." + quoted(table.name);
    if (!vacuum) return "ANALYZE " + name;
    return (analyze ? "VACUUM (ANALYZE) " : "VACUUM ") + name;
  }
};

Result<Wish> wish_of(const plan::Action& action) {
  Wish out;
  const auto& given = action.parameters;
  const auto what = text_parameter(given, "what", "vacuum_analyze");
  if (what != "vacuum_analyze" && what != "vacuum" && what != "analyze")
    return fail(Errc::kInvalidArgument,
                "parameter \"what\": expected vacuum, analyze or vacuum_analyze, got \"{}\"", what);
  out.vacuum = what != "analyze";
  out.analyze = what != "vacuum";
  std::vector<std::string> names{action.target};
  const auto* tables = find_parameter<std::vector<std::string>>(given, "tables");
  if (tables != nullptr) {
    if (action.target != "postgres")
      return fail(Errc::kInvalidArgument,
                  "parameter \"tables\": goes with the target \"postgres\" only");
    names = *tables;
  }
  if (names.empty() || names.size() > kMostTables)
    return fail(Errc::kInvalidArgument, "parameter \"tables\": expected 1 to {}", kMostTables);
  for (const auto& name : names) {
    auto table = table_of(name);
    if (!table) return propagate(std::move(table));
    out.tables.push_back(*std::move(table));
  }
  out.timeout = duration_parameter(given, "timeout", 10min);
  out.lock_timeout = duration_parameter(given, "lock_timeout", 2s);
  if (out.timeout < 1s || out.timeout > kLongest)
    return fail(Errc::kInvalidArgument, "parameter \"timeout\": expected 1s to 24h");
  if (out.lock_timeout < 1ms || out.lock_timeout > 1min)
    return fail(Errc::kInvalidArgument, "parameter \"lock_timeout\": expected 1ms to 1m");
  auto size = bytes_parameter(given, "max_size");
  if (!size) return propagate(std::move(size));
  out.max_size = size->value_or(50ULL << 30);
  return out;
}

/// What the server says of a table.
struct Facts {
  std::string oid;
  std::uint64_t bytes = 0;
  std::uint64_t dead = 0;
  std::uint64_t live = 0;
  std::uint64_t vacuums = 0;  // by hand, as ours are
  std::uint64_t analyzes = 0;
  bool may = true;  // we may do it; from PostgreSQL 17 on others than owners may be let
};

Result<Facts> facts_of(Postgres& server, const Table& table, Clock& clock) {
  const std::array<drivers::PostgresResult::Value, 2> names{table.schema, table.name};
  auto rows = server.query(
      "SELECT c.oid, pg_table_size(c.oid), coalesce(s.n_dead_tup, 0), coalesce(s.n_live_tup, 0), "
      "coalesce(s.vacuum_count, 0), coalesce(s.analyze_count, 0), c.relkind, "
      "pg_has_role(c.relowner, 'USAGE') OR (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database "
      "WHERE datname = current_database()) OR "
      "current_setting('server_version_num')::int >= 170000 FROM pg_class c JOIN "
      "pg_namespace "
      "n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE "
      "n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'm')",
      clock.steady() + kQueryLimit, names);
  if (!rows) return propagate(std::move(rows), "{}", table.shown());
  if (rows->rows() == 0) return fail(Errc::kNotFound, "there is no table {}", table.shown());
  // The server counts nothing of the whole: whether it was done could not be told.
  if (rows->at(0, 6) == "p")
    return fail(Errc::kUnsupported, "{} is partitioned: name its partitions", table.shown());
  const auto number = [&](std::size_t column) {
    return base::parse_uint(rows->at(0, column).value_or("0")).value_or(0);
  };
  return Facts{.oid = rows->at(0, 0).value_or(""),
               .bytes = number(1),
               .dead = number(2),
               .live = number(3),
               .vacuums = number(4),
               .analyzes = number(5),
               .may = rows->at(0, 7) == "t"};
}

Postgres server_of(const StepContext& context, const Wish& wish) {
  auto target = context.config->connections.postgres;
  return {context.clock, std::move(target),
          Postgres::Settings{{"statement_timeout", std::to_string(wish.timeout.count())},
                             {"lock_timeout", std::to_string(wish.lock_timeout.count())},
                             {"application_name", "nexus-agent optimize_database"}}};
}

class OptimizeDatabase final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    if (context.config->connections.postgres.host.empty())
      return fail(Errc::kNotFound, "[postgres] names no host");
    if (auto wish = wish_of(action); !wish) return propagate(std::move(wish));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto wish = wish_of(action);
    if (!wish) return propagate(std::move(wish));
    auto server = server_of(context, *wish);
    std::string out;
    for (const auto& table : wish->tables) {
      auto facts = look(server, table, *wish, context);
      if (!facts) return propagate(std::move(facts));
      out +=
          fmt::format("{}would run {}: {}, {} rows, {} dead ones", out.empty() ? "" : "\n",
                      wish->statement(table), show_bytes(facts->bytes), facts->live, facts->dead);
    }
    return out;
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto wish = wish_of(action);
    if (!wish) return json::serialize(json::object{{"error", wish.error().message()}});
    auto server = server_of(context, *wish);
    json::array tables;
    for (const auto& table : wish->tables) {
      auto facts = facts_of(server, table, context.clock);
      if (!facts) {
        tables.push_back({{"table", table.shown()}, {"error", facts.error().message()}});
        continue;
      }
      tables.push_back({{"table", table.shown()},
                        {"oid", facts->oid},
                        {"bytes", facts->bytes},
                        {"dead_rows", facts->dead},
                        {"live_rows", facts->live},
                        {"vacuums", facts->vacuums},
                        {"analyzes", facts->analyzes}});
    }
    return json::serialize(json::object{{"tables", std::move(tables)}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto wish = wish_of(action);
    if (!wish) return propagate(std::move(wish));
    auto server = server_of(context, *wish);
    std::string said;
    for (const auto& table : wish->tables) {
      if (auto why = why_to_end(context.clock, run))
        return fail(*why, "ended before {}{}", table.shown(),
                    said.empty() ? "" : " (" + said + ")");
      auto one = optimize(server, table, *wish, context, run);
      if (!one) return propagate(std::move(one));
      said += (said.empty() ? "" : "; ") + *one;
    }
    return StepResult{.result = said, .output = {}};
  }

  /// By the server's own counts. Where they cannot be compared (none were told before, or nobody
  /// answers now) what the server has said to run() is all there is.
  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    std::string what;
    switch (recover(action, context, what)) {
      case Recovered::kDone:
        return true;
      case Recovered::kNotDone:
        return false;
      case Recovered::kUnderWay:
      case Recovered::kNotReachable:
      case Recovered::kUnknown:
        break;
    }
    return std::nullopt;
  }

  /// The server ends what runs when its client has gone, or goes on to the end: by its counts.
  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto wish = wish_of(action);
    json::error_code error;
    const auto before = json::parse(action.outcome.before, error);
    if (!wish || error) {
      what = "what was to be done is not known";
      return Recovered::kUnknown;
    }
    auto server = server_of(context, *wish);
    for (std::size_t i = 0; i < wish->tables.size(); ++i) {
      auto facts = facts_of(server, wish->tables[i], context.clock);
      if (!facts) {
        what = facts.error().message();
        return facts.error().code() == Errc::kUnavailable ? Recovered::kNotReachable
                                                          : Recovered::kUnknown;
      }
      boost::system::error_code ec;
      const auto* vacuums = before.find_pointer(fmt::format("/tables/{}/vacuums", i), ec);
      const auto* analyzes = before.find_pointer(fmt::format("/tables/{}/analyzes", i), ec);
      if (vacuums == nullptr || analyzes == nullptr) {
        what = "what there was before is not known";
        return Recovered::kUnknown;
      }
      Facts then;
      then.vacuums = vacuums->to_number<std::uint64_t>();
      then.analyzes = analyzes->to_number<std::uint64_t>();
      if (!was_done(*wish, then, *facts)) {
        what = wish->tables[i].shown() + " was not done";
        return Recovered::kNotDone;
      }
    }
    what = "all tables were done";
    return Recovered::kDone;
  }

 private:
  static bool was_done(const Wish& wish, const Facts& before, const Facts& after) {
    return (!wish.vacuum || after.vacuums > before.vacuums) &&
           (!wish.analyze || after.analyzes > before.analyzes);
  }

  static Result<Facts> look(Postgres& server, const Table& table, const Wish& wish,
                            StepContext& context) {
    auto facts = facts_of(server, table, context.clock);
    if (!facts) return facts;
    if (!facts->may)
      return fail(Errc::kPermissionDenied, "{}: only the owner of a table, or of the database, may",
                  table.shown());
    if (facts->bytes > wish.max_size)
      return fail(Errc::kConflict, "{} takes {}: more than max_size ({})", table.shown(),
                  show_bytes(facts->bytes), show_bytes(wish.max_size));
    return facts;
  }

  static Result<std::string> optimize(Postgres& server, const Table& table, const Wish& wish,
                                      StepContext& context, const StepRun& run) {
    auto before = look(server, table, wish, context);
    if (!before) return propagate(std::move(before));
    run.begun();
    const auto begun = context.clock.steady();
    // A moment more than the server's own limit, so that it is the server that says so.
    const auto limit = std::min(run.deadline, begun + wish.timeout + 5s);
    if (auto done = server.query(wish.statement(table), limit); !done)
      return propagate(std::move(done), "{}", table.shown());
    const auto took = std::chrono::duration_cast<Millis>(context.clock.steady() - begun).count();
    auto after = counted(server, table, wish, *before, context, run);
    if (!after) return propagate(std::move(after), "{}", table.shown());
    return fmt::format("{} in {} ms: {} dead rows, {} before; {}, {} before", wish.statement(table),
                       took, after->dead, before->dead, show_bytes(after->bytes),
                       show_bytes(before->bytes));
  }

  /// The server counts it a moment later. Without a count it was not done: it only warns of a table
  /// that is somebody else's.
  static Result<Facts> counted(Postgres& server, const Table& table, const Wish& wish,
                               const Facts& before, StepContext& context, const StepRun& run) {
    const auto until = std::min(run.deadline, context.clock.steady() + kQueryLimit);
    while (true) {
      auto after = facts_of(server, table, context.clock);
      if (!after || was_done(wish, before, *after)) return after;
      if (context.clock.steady() >= until)
        return fail(Errc::kPermissionDenied,
                    "the server has not done it: only the owner of a table, or of the database, "
                    "may");
      pause_until(context.clock, std::min(until, context.clock.steady() + 100ms));
    }
  }
};

Status check_optimize(const config::RemedyConfig& remedy, const config::Config& config) {
  if (config.connections.postgres.host.empty())
    return fail(Errc::kNotFound, "[postgres] names no host");
  plan::Action action;
  action.target = remedy.target.empty() || is_template(remedy.target) ? "x" : remedy.target;
  action.parameters = remedy.parameters;
  if (is_template(remedy.target) || remedy.target.empty()) return {};
  if (auto wish = wish_of(action); !wish) return propagate(std::move(wish));
  return {};
}

}  // namespace

const ActionDescriptor kOptimizeDatabase{
    .name = "optimize_database",
    .help =
        "VACUUM (ANALYZE) or ANALYZE of named tables of PostgreSQL, with limits of time and "
        "size.",
    .target_help =
        "a table of the database of [postgres], \"public.orders\"; or \"postgres\" with "
        "the parameter tables",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<OptimizeDatabase>(); },
    .check_remedy = check_optimize,
};

}  // namespace nexus::execute

// What is asked of a PostgreSQL server, for each version and by what it has installed.
//
// A result's columns that are metrics of the query carry values; the others are labels, by their
// names. Statements read only, take no lock beyond AccessShareLock, and are bounded by $1 (rows)
// and $2 (characters of a text) where they use them. Versions are as libpq counts them (150004).
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

inline constexpr int kOldestPostgres = 120000;

/// What the queries use that not every version from 12 to 17 has: the first version with it. The
/// documentation has it in "The Cumulative Statistics System" and "System Views". Only 15 is run in
/// tests.
namespace postgres_since {
inline constexpr int kSlotStatus = 130000;    // pg_replication_slots.wal_status, safe_wal_size
inline constexpr int kSessionTimes = 140000;  // pg_stat_database.session_time, sessions, ...
inline constexpr int kLogicalSlotConflicts = 160000;  // ..._conflicts.confl_active_logicalslot
inline constexpr int kCheckpointer =
    170000;  // pg_stat_checkpointer, which took from pg_stat_bgwriter
// Of the extension pg_stat_statements, as statements_version counts:
inline constexpr int kExecutionTimes = 108;    // total_exec_time rather than total_time
inline constexpr int kSharedBlockTimes = 111;  // shared_blk_read_time rather than blk_read_time
}  // namespace postgres_since

enum class PostgresPace { kEveryRun, kSlow };
enum class PostgresBound { kNone, kTables, kStatements };

/// A metric whose name ends in * stands for many: the query then has the columns `name` (what
/// stands for the asterisk), `help` and this one, and no labels.
struct PostgresMetric {
  std::string_view column;
  MetricDescriptor metric;
};

/// What statements depend on, besides options.
struct PostgresFacts {
  int version = 0;
  /// Of pg_stat_statements in the connected database: 100 * major + minor (1.10 is 110); 0: not
  /// there.
  int statements_version = 0;
  std::string statements_schema;  // quoted as an identifier
  bool operator==(const PostgresFacts&) const = default;
};

struct PostgresQuery {
  std::string_view name;
  PostgresPace pace = PostgresPace::kEveryRun;
  PostgresBound bound = PostgresBound::kNone;
  std::string (*sql)(const PostgresFacts& facts);  // empty: not for this server
  std::span<const PostgresMetric> metrics;
  bool names_server = false;  // with postgres_exporter's label `server`, "host:port"
};

[[nodiscard]] std::span<const PostgresQuery> postgres_queries();       // every run
[[nodiscard]] std::span<const PostgresQuery> postgres_slow_queries();  // every slow_interval

/// "1.10" is 110; 0 when it is not of that form.
[[nodiscard]] int parse_extension_version(std::string_view text);

}  // namespace nexus::monitor

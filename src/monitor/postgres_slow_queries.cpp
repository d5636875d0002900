// What is dear to ask: read every slow_interval.
#include <fmt/format.h>

#include <array>

#include "monitor/postgres_queries.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr auto kCounter = MetricType::kCounter;
constexpr auto kGauge = MetricType::kGauge;

using Facts = PostgresFacts;

constexpr std::array kStatic = {
    PostgresMetric{"one",
                   {"pg_static", MetricType::kUntyped, "Version string as reported by postgres"}},
};
std::string version(const Facts& /*facts*/) {
  return R"(SELECT version() AS version, current_setting('server_version') AS short_version,
  1 AS one)";
}

constexpr std::array kWraparound = {
    PostgresMetric{"xid_age",
                   {"pg_database_wraparound_age_datfrozenxid_seconds", kGauge,
                    "Age of the oldest transaction ID that has not been frozen."}},
    PostgresMetric{"mxid_age",
                   {"pg_database_wraparound_age_datminmxid_seconds", kGauge,
                    "Age of the oldest multi-transaction ID that has been replaced with a "
                    "transaction ID."}},
};
std::string wraparound(const Facts& /*facts*/) {
  return R"(SELECT datname, age(datfrozenxid) AS xid_age, mxid_age(datminmxid) AS mxid_age
FROM pg_database WHERE datallowconn ORDER BY datname)";
}

constexpr std::array kDatabaseLimits = {
    PostgresMetric{"connection_limit",
                   {"pg_database_connection_limit", kGauge,
                    "Connection limit set for the database; -1: none"}},
};
std::string database_limits(const Facts& /*facts*/) {
  return "SELECT datname, datconnlimit AS connection_limit FROM pg_database ORDER BY datname "
         "LIMIT 1000";
}

constexpr std::array kRoleLimits = {
    PostgresMetric{
        "connection_limit",
        {"pg_roles_connection_limit", kGauge, "Connection limit set for the role; -1: none"}},
};
// Those that somebody has limited come first: of too many roles the others say nothing.
std::string role_limits(const Facts& /*facts*/) {
  return "SELECT rolname, rolconnlimit AS connection_limit FROM pg_roles "
         "ORDER BY rolconnlimit < 0, rolname LIMIT 200";
}

// All that are numbers or switches, as postgres_exporter has them: converted to seconds and bytes,
// which the name then ends in; -1 has a meaning of its own and stays. Not those that this
// connection has set for itself: the limits of its statements are not the server's.
constexpr std::array kSettings = {
    PostgresMetric{"value",
                   {"pg_settings_*", kGauge,
                    "Server parameter *, in seconds or bytes where it has such a unit"}},
};
std::string settings(const Facts& /*facts*/) {
  return R"(SELECT replace(s.name, '.', '_') || CASE k.kind WHEN 'none' THEN '' ELSE '_' || k.kind END
    AS name,
  s.short_desc || CASE k.kind WHEN 'none' THEN '' ELSE ' [Units converted to ' || k.kind || '.]' END
    AS help,
  CASE WHEN s.vartype = 'bool' THEN CASE WHEN s.setting = 'on' THEN 1 ELSE 0 END
    WHEN s.setting::float8 = -1 THEN -1
    ELSE s.setting::float8 * CASE k.kind
      WHEN 'seconds' THEN CASE s.unit WHEN 'us' THEN 0.000001 WHEN 'ms' THEN 0.001 WHEN 's' THEN 1
        WHEN 'min' THEN 60 WHEN 'h' THEN 3600 ELSE 86400 END
      WHEN 'bytes' THEN coalesce(substring(s.unit FROM '^[0-9]+')::float8, 1)
        * CASE ltrim(s.unit, '0123456789') WHEN 'kB' THEN 1024 WHEN 'MB' THEN 1048576
          WHEN 'GB' THEN 1073741824 WHEN 'TB' THEN 1099511627776 ELSE 1 END
      ELSE 1 END
  END AS value
FROM pg_settings s, LATERAL (SELECT CASE WHEN s.unit IN ('us', 'ms', 's', 'min', 'h', 'd')
    THEN 'seconds' WHEN s.unit ~ '^[0-9]*(B|kB|MB|GB|TB)$' THEN 'bytes' ELSE 'none' END AS kind) AS k
WHERE s.vartype IN ('bool', 'integer', 'real') AND s.name ~ '^[A-Za-z_][A-Za-z0-9_.]*$'
  AND s.source NOT IN ('client', 'session')
ORDER BY s.name LIMIT 1000)";
}

constexpr std::array kSizes = {
    PostgresMetric{"size", {"pg_database_size_bytes", kGauge, "Disk space used by the database"}},
};
// Of databases that nobody is allowed into, or that this role may not connect to, it may not know.
std::string sizes(const Facts& /*facts*/) {
  return R"(SELECT datname, pg_database_size(oid) AS size FROM pg_database
WHERE datallowconn AND (has_database_privilege(oid, 'CONNECT')
  OR pg_has_role('pg_read_all_stats', 'USAGE')) ORDER BY datname)";
}

constexpr std::array kWal = {
    PostgresMetric{"segments", {"pg_wal_segments", kGauge, "Number of WAL segments"}},
    PostgresMetric{"size", {"pg_wal_size_bytes", kGauge, "Total size of WAL segments"}},
};
std::string wal(const Facts& /*facts*/) {
  return R"(SELECT count(*) AS segments, coalesce(sum(size), 0) AS size
FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')";
}

constexpr std::array kTables = {
    PostgresMetric{"seq_scan",
                   {"pg_stat_user_tables_seq_scan", kCounter,
                    "Number of sequential scans initiated on this table"}},
    PostgresMetric{"seq_tup_read",
                   {"pg_stat_user_tables_seq_tup_read", kCounter,
                    "Number of live rows fetched by sequential scans"}},
    PostgresMetric{"idx_scan",
                   {"pg_stat_user_tables_idx_scan", kCounter,
                    "Number of index scans initiated on this table"}},
    PostgresMetric{"idx_tup_fetch",
                   {"pg_stat_user_tables_idx_tup_fetch", kCounter,
                    "Number of live rows fetched by index scans"}},
    PostgresMetric{"n_tup_ins",
                   {"pg_stat_user_tables_n_tup_ins", kCounter, "Number of rows inserted"}},
    PostgresMetric{"n_tup_upd",
                   {"pg_stat_user_tables_n_tup_upd", kCounter, "Number of rows updated"}},
    PostgresMetric{"n_tup_del",
                   {"pg_stat_user_tables_n_tup_del", kCounter, "Number of rows deleted"}},
    PostgresMetric{"n_tup_hot_upd",
                   {"pg_stat_user_tables_n_tup_hot_upd", kCounter, "Number of rows HOT updated"}},
    PostgresMetric{"n_live_tup",
                   {"pg_stat_user_tables_n_live_tup", kGauge, "Estimated number of live rows"}},
    PostgresMetric{"n_dead_tup",
                   {"pg_stat_user_tables_n_dead_tup", kGauge, "Estimated number of dead rows"}},
    PostgresMetric{"n_mod_since_analyze",
                   {"pg_stat_user_tables_n_mod_since_analyze", kGauge,
                    "Estimated number of rows changed since last analyze"}},
    PostgresMetric{"last_vacuum",
                   {"pg_stat_user_tables_last_vacuum", kGauge,
                    "Last time at which this table was manually vacuumed"}},
    PostgresMetric{"last_autovacuum",
                   {"pg_stat_user_tables_last_autovacuum", kGauge,
                    "Last time at which this table was vacuumed by the autovacuum daemon"}},
    PostgresMetric{"last_analyze",
                   {"pg_stat_user_tables_last_analyze", kGauge,
                    "Last time at which this table was manually analyzed"}},
    PostgresMetric{"last_autoanalyze",
                   {"pg_stat_user_tables_last_autoanalyze", kGauge,
                    "Last time at which this table was analyzed by the autovacuum daemon"}},
    PostgresMetric{"vacuum_count",
                   {"pg_stat_user_tables_vacuum_count", kCounter,
                    "Number of times this table has been manually vacuumed"}},
    PostgresMetric{"autovacuum_count",
                   {"pg_stat_user_tables_autovacuum_count", kCounter,
                    "Number of times this table has been vacuumed by the autovacuum daemon"}},
    PostgresMetric{"analyze_count",
                   {"pg_stat_user_tables_analyze_count", kCounter,
                    "Number of times this table has been manually analyzed"}},
    PostgresMetric{"autoanalyze_count",
                   {"pg_stat_user_tables_autoanalyze_count", kCounter,
                    "Number of times this table has been analyzed by the autovacuum daemon"}},
    PostgresMetric{"index_size_bytes",
                   {"pg_stat_user_tables_index_size_bytes", kGauge,
                    "Total disk space used by the indexes, in bytes"}},
    PostgresMetric{"table_size_bytes",
                   {"pg_stat_user_tables_table_size_bytes", kGauge,
                    "Total disk space used by this table, in bytes"}},
};
// A size needs a lock on the table: one that somebody holds or wants for himself is left alone. The
// largest are chosen by the pages that the last vacuum or analyze saw, which needs no lock.
std::string tables(const Facts& /*facts*/) {
  return R"(SELECT current_database() AS datname, t.schemaname, t.relname, t.seq_scan,
  t.seq_tup_read, coalesce(t.idx_scan, 0) AS idx_scan,
  coalesce(t.idx_tup_fetch, 0) AS idx_tup_fetch, t.n_tup_ins, t.n_tup_upd, t.n_tup_del,
  t.n_tup_hot_upd, t.n_live_tup, t.n_dead_tup, t.n_mod_since_analyze,
  coalesce(extract(epoch FROM t.last_vacuum), 0) AS last_vacuum,
  coalesce(extract(epoch FROM t.last_autovacuum), 0) AS last_autovacuum,
  coalesce(extract(epoch FROM t.last_analyze), 0) AS last_analyze,
  coalesce(extract(epoch FROM t.last_autoanalyze), 0) AS last_autoanalyze,
  t.vacuum_count, t.autovacuum_count, t.analyze_count, t.autoanalyze_count,
  CASE WHEN NOT taken.yes THEN pg_indexes_size(t.relid) END AS index_size_bytes,
  CASE WHEN NOT taken.yes THEN pg_table_size(t.relid) END AS table_size_bytes
FROM (SELECT s.*, c.relpages FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
  ORDER BY greatest(c.relpages::bigint, (s.n_live_tup + s.n_dead_tup) / 100) DESC, s.relid
  LIMIT $1::bigint) AS t,
LATERAL (SELECT EXISTS (SELECT FROM pg_locks l WHERE l.relation = t.relid
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode = 'AccessExclusiveLock') AS yes) AS taken
ORDER BY t.schemaname, t.relname)";
}

constexpr std::array kTableBlocks = {
    PostgresMetric{"heap_read",
                   {"pg_statio_user_tables_heap_blocks_read", kCounter,
                    "Number of disk blocks read from this table"}},
    PostgresMetric{
        "heap_hit",
        {"pg_statio_user_tables_heap_blocks_hit", kCounter, "Number of buffer hits in this table"}},
    PostgresMetric{"idx_read",
                   {"pg_statio_user_tables_idx_blocks_read", kCounter,
                    "Number of disk blocks read from all indexes on this table"}},
    PostgresMetric{"idx_hit",
                   {"pg_statio_user_tables_idx_blocks_hit", kCounter,
                    "Number of buffer hits in all indexes on this table"}},
    PostgresMetric{"toast_read",
                   {"pg_statio_user_tables_toast_blocks_read", kCounter,
                    "Number of disk blocks read from this table's TOAST table (if any)"}},
    PostgresMetric{"toast_hit",
                   {"pg_statio_user_tables_toast_blocks_hit", kCounter,
                    "Number of buffer hits in this table's TOAST table (if any)"}},
    PostgresMetric{"tidx_read",
                   {"pg_statio_user_tables_tidx_blocks_read", kCounter,
                    "Number of disk blocks read from this table's TOAST table indexes (if any)"}},
    PostgresMetric{"tidx_hit",
                   {"pg_statio_user_tables_tidx_blocks_hit", kCounter,
                    "Number of buffer hits in this table's TOAST table indexes (if any)"}},
};
std::string table_blocks(const Facts& /*facts*/) {
  return R"(SELECT current_database() AS datname, s.schemaname, s.relname,
  coalesce(heap_blks_read, 0) AS heap_read, coalesce(heap_blks_hit, 0) AS heap_hit,
  coalesce(idx_blks_read, 0) AS idx_read, coalesce(idx_blks_hit, 0) AS idx_hit,
  coalesce(toast_blks_read, 0) AS toast_read, coalesce(toast_blks_hit, 0) AS toast_hit,
  coalesce(tidx_blks_read, 0) AS tidx_read, coalesce(tidx_blks_hit, 0) AS tidx_hit
FROM pg_statio_user_tables s JOIN pg_class c ON c.oid = s.relid
ORDER BY c.relpages DESC, s.relid LIMIT $1::bigint)";
}

constexpr std::array kBloat = {
    PostgresMetric{"bloat",
                   {"pg_stat_user_tables_bloat_bytes", kGauge,
                    "Estimated disk space of this table that its rows would not need, in bytes"}},
    PostgresMetric{"ratio",
                   {"pg_stat_user_tables_bloat_ratio", kGauge,
                    "Estimated share of this table that its rows would not need"}},
};
// From the planner's statistics, without reading the table: rows of the mean width that analyze
// saw, with a header of 24 bytes and a line pointer of 4, aligned to 8, in pages with a header
// of 24.
std::string bloat(const Facts& /*facts*/) {
  return R"(SELECT datname, schemaname, relname,
  greatest(0, pages - needed) * block AS bloat,
  CASE WHEN pages > 0 THEN greatest(0, pages - needed) / pages ELSE 0 END AS ratio
FROM (SELECT current_database() AS datname, n.nspname AS schemaname, c.relname,
    c.relpages::numeric AS pages, block,
    ceil(c.reltuples::numeric * (4 + 24 + 8 * ceil(w.width / 8.0)) / (block - 24)
      * 100 / coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions)
        WHERE option_name = 'fillfactor'), 100)) AS needed
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
  LATERAL (SELECT current_setting('block_size')::numeric AS block) AS b,
  LATERAL (SELECT sum((1 - s.null_frac) * s.avg_width)::numeric AS width, count(*) AS columns
    FROM pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = c.relname
    AND NOT s.inherited) AS w
  WHERE c.relkind IN ('r', 'm') AND c.reltuples > 0 AND w.columns > 0
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  ORDER BY c.relpages DESC, c.oid LIMIT $1::bigint) AS t ORDER BY schemaname, relname)";
}

constexpr std::array kIndexBloat = {
    PostgresMetric{"bloat",
                   {"pg_stat_user_indexes_bloat_bytes", kGauge,
                    "Estimated disk space of this B-tree index that its entries would not need, in "
                    "bytes"}},
    PostgresMetric{"ratio",
                   {"pg_stat_user_indexes_bloat_ratio", kGauge,
                    "Estimated share of this B-tree index that its entries would not need"}},
};
// As of tables: entries of the mean width of their columns, with a header of 8 bytes and a line
// pointer of 4, aligned to 8, in pages with a header of 24 and 16 bytes of links, and one page for
// the tree. Equal keys share entries since version 13, which makes an index smaller than that: then
// there is no bloat. Columns that are expressions have statistics of their own.
std::string index_bloat(const Facts& /*facts*/) {
  return R"(SELECT datname, schemaname, relname, indexrelname,
  greatest(0, pages - needed) * block AS bloat,
  CASE WHEN pages > 0 THEN greatest(0, pages - needed) / pages ELSE 0 END AS ratio
FROM (SELECT current_database() AS datname, x.schemaname, x.relname, x.indexrelname,
    x.pages, block, 1 + ceil(x.entries * (4 + 8 + 8 * ceil(w.width / 8.0)) / ((block - 40)
      * coalesce((SELECT option_value::int FROM pg_options_to_table(x.reloptions)
        WHERE option_name = 'fillfactor'), 90) / 100)) AS needed, x.columns, w.known
  FROM (SELECT n.nspname AS schemaname, t.relname, i.relname AS indexrelname,
      i.relpages::numeric AS pages, i.reltuples::numeric AS entries, i.reloptions,
      g.indrelid, g.indexrelid, g.indkey, g.indnatts AS columns
    FROM pg_index g JOIN pg_class i ON i.oid = g.indexrelid JOIN pg_class t ON t.oid = g.indrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_am m ON m.oid = i.relam
    WHERE m.amname = 'btree' AND i.relkind = 'i' AND i.reltuples > 0
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY i.relpages DESC, i.oid LIMIT $1::bigint) AS x,
  LATERAL (SELECT current_setting('block_size')::numeric AS block) AS b,
  LATERAL (SELECT sum((1 - s.null_frac) * s.avg_width)::numeric AS width, count(*) AS known
    FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = CASE WHEN k.attnum = 0 THEN x.indexrelid ELSE x.indrelid END
      AND a.attnum = CASE WHEN k.attnum = 0 THEN k.place ELSE k.attnum END
    JOIN pg_stats s ON s.schemaname = x.schemaname AND s.attname = a.attname AND NOT s.inherited
      AND s.tablename = CASE WHEN k.attnum = 0 THEN x.indexrelname ELSE x.relname END) AS w) AS t
WHERE known = columns ORDER BY schemaname, relname, indexrelname)";
}

constexpr std::array kStatements = {
    PostgresMetric{"calls",
                   {"pg_stat_statements_calls_total", kCounter, "Number of times executed"}},
    PostgresMetric{"seconds",
                   {"pg_stat_statements_seconds_total", kCounter,
                    "Total time spent in the statement, in seconds"}},
    PostgresMetric{"rows",
                   {"pg_stat_statements_rows_total", kCounter,
                    "Total number of rows retrieved or affected by the statement"}},
    PostgresMetric{"read_seconds",
                   {"pg_stat_statements_block_read_seconds_total", kCounter,
                    "Total time the statement spent reading blocks, in seconds"}},
    PostgresMetric{"write_seconds",
                   {"pg_stat_statements_block_write_seconds_total", kCounter,
                    "Total time the statement spent writing blocks, in seconds"}},
};
std::string_view total_time(const Facts& facts) {
  return facts.statements_version >= postgres_since::kExecutionTimes ? "total_exec_time"
                                                                     : "total_time";
}
// The extension's version decides, not the server's: an upgraded server keeps the old one.
std::string statements(const Facts& facts) {
  if (facts.statements_version == 0) return {};
  const bool shared = facts.statements_version >= postgres_since::kSharedBlockTimes;
  return fmt::format(R"(SELECT pg_get_userbyid(s.userid) AS "user", d.datname, s.queryid,
  sum(s.calls) AS calls, sum(s.{0}) / 1000.0 AS seconds, sum(s.rows) AS rows,
  sum(s.{1}blk_read_time) / 1000.0 AS read_seconds,
  sum(s.{1}blk_write_time) / 1000.0 AS write_seconds
FROM {2}.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE s.queryid IS NOT NULL GROUP BY s.userid, d.datname, s.queryid
ORDER BY seconds DESC, s.queryid LIMIT $1::bigint)",
                     total_time(facts), shared ? "shared_" : "", facts.statements_schema);
}

constexpr std::array kStatementTexts = {
    PostgresMetric{"one",
                   {"pg_stat_statements_query_id", kCounter, "SQL Query to queryid mapping"}},
};
// Only of statements whose constants are replaced: commands may hold passwords.
std::string statement_texts(const Facts& facts) {
  if (facts.statements_version == 0) return {};
  return fmt::format(R"(SELECT queryid,
  left(regexp_replace(min(query), '\s+', ' ', 'g'), $2::int) AS query, 1 AS one
FROM (SELECT userid, dbid, queryid, min(query) AS query, sum({0}) AS time
  FROM {1}.pg_stat_statements WHERE queryid IS NOT NULL GROUP BY userid, dbid, queryid
  ORDER BY time DESC, queryid LIMIT $1::bigint) AS slowest
WHERE $2::int > 0 AND query ~* '^\s*(select|insert|update|delete|merge|with|values)\M'
GROUP BY queryid ORDER BY queryid)",
                     total_time(facts), facts.statements_schema);
}

constexpr auto kSlow = PostgresPace::kSlow;
constexpr std::array kQueries = {
    PostgresQuery{"version", kSlow, PostgresBound::kNone, version, kStatic, true},
    PostgresQuery{"settings", kSlow, PostgresBound::kNone, settings, kSettings, true},
    PostgresQuery{"database limits", kSlow, PostgresBound::kNone, database_limits, kDatabaseLimits},
    PostgresQuery{"role limits", kSlow, PostgresBound::kNone, role_limits, kRoleLimits},
    PostgresQuery{"wraparound", kSlow, PostgresBound::kNone, wraparound, kWraparound},
    PostgresQuery{"database sizes", kSlow, PostgresBound::kNone, sizes, kSizes},
    PostgresQuery{"wal", kSlow, PostgresBound::kNone, wal, kWal},
    PostgresQuery{"tables", kSlow, PostgresBound::kTables, tables, kTables},
    PostgresQuery{"table blocks", kSlow, PostgresBound::kTables, table_blocks, kTableBlocks},
    PostgresQuery{"bloat", kSlow, PostgresBound::kTables, bloat, kBloat},
    PostgresQuery{"index bloat", kSlow, PostgresBound::kTables, index_bloat, kIndexBloat},
    PostgresQuery{"statements", kSlow, PostgresBound::kStatements, statements, kStatements},
    PostgresQuery{"statement texts", kSlow, PostgresBound::kStatements, statement_texts,
                  kStatementTexts},
};

}  // namespace

std::span<const PostgresQuery> postgres_slow_queries() {
  return kQueries;
}

int parse_extension_version(std::string_view text) {
  const auto major = base::parse_uint(base::take_until(text, '.'));
  const auto minor = base::parse_uint(base::take_until(text, '.'));
  if (!major || !minor || *major > 1000 || *minor > 99) return 0;
  return static_cast<int>(*major * 100 + *minor);
}

}  // namespace nexus::monitor

#include "monitor/postgres_queries.hpp"

#include <fmt/format.h>

#include <array>

namespace nexus::monitor {
namespace {

constexpr auto kCounter = MetricType::kCounter;
constexpr auto kGauge = MetricType::kGauge;

using Facts = PostgresFacts;

constexpr std::array kServer = {
    PostgresMetric{
        "start_time",
        {"pg_postmaster_start_time_seconds", kGauge, "Time at which postmaster started"}},
    PostgresMetric{"wal_bytes",
                   {"pg_xlog_location_bytes", kGauge,
                    "Position in the write-ahead log, in bytes; of a replica, what it replayed"}},
    PostgresMetric{"is_replica",
                   {"pg_replication_is_replica", kGauge, "Indicates if the server is a replica"}},
    PostgresMetric{
        "lag", {"pg_replication_lag_seconds", kGauge, "Replication lag behind master in seconds"}},
    PostgresMetric{"last_replay",
                   {"pg_replication_last_replay_seconds", kGauge,
                    "Age of last transaction replay in seconds"}},
};
// A replica that has replayed all it received has no lag, however long ago that was.
std::string server(const Facts& /*facts*/) {
  return R"(SELECT extract(epoch FROM pg_postmaster_start_time()) AS start_time,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
    - '0/0'::pg_lsn AS wal_bytes,
  pg_is_in_recovery() AS is_replica,
  CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END AS lag,
  CASE WHEN NOT pg_is_in_recovery() THEN 0
    ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END
    AS last_replay)";
}

constexpr std::array kActivity = {
    PostgresMetric{"count",
                   {"pg_stat_activity_count", kGauge, "number of connections in this state"}},
    PostgresMetric{"max_tx_duration",
                   {"pg_stat_activity_max_tx_duration", kGauge,
                    "max duration in seconds any active transaction has been running"}},
};
std::string activity(const Facts& /*facts*/) {
  return R"(SELECT d.datname, s.state, count(a.pid) AS count,
  coalesce(max(extract(epoch FROM now() - a.xact_start)), 0) AS max_tx_duration
FROM pg_database d
CROSS JOIN (VALUES ('active'), ('idle'), ('idle in transaction'),
  ('idle in transaction (aborted)'), ('fastpath function call'), ('disabled')) AS s (state)
LEFT JOIN pg_stat_activity a ON a.datname = d.datname AND a.state = s.state
  AND a.pid <> pg_backend_pid()
WHERE d.datallowconn GROUP BY d.datname, s.state ORDER BY d.datname, s.state)";
}

constexpr std::array kTransactions = {
    PostgresMetric{
        "transactions",
        {"pg_long_running_transactions", kGauge, "Current number of long running transactions"}},
    PostgresMetric{"oldest",
                   {"pg_long_running_transactions_oldest_timestamp_seconds", kGauge,
                    "The current maximum transaction age in seconds"}},
    PostgresMetric{
        "waiting",
        {"pg_stat_activity_waiting_on_locks", kGauge, "Backends that wait for a lock of another"}},
};
std::string transactions(const Facts& /*facts*/) {
  return R"(SELECT count(*) FILTER (WHERE in_transaction) AS transactions,
  coalesce(max(age) FILTER (WHERE in_transaction), 0) AS oldest,
  count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting
FROM (SELECT wait_event_type, extract(epoch FROM clock_timestamp() - xact_start) AS age,
  xact_start IS NOT NULL AND state IS DISTINCT FROM 'idle'
    AND backend_type = 'client backend' AS in_transaction
  FROM pg_stat_activity WHERE pid <> pg_backend_pid()) AS backends)";
}

constexpr std::array kDatabase = {
    PostgresMetric{"numbackends",
                   {"pg_stat_database_numbackends", kGauge,
                    "Number of backends currently connected to this database."}},
    PostgresMetric{"xact_commit",
                   {"pg_stat_database_xact_commit", kCounter,
                    "Number of transactions in this database that have been committed"}},
    PostgresMetric{"xact_rollback",
                   {"pg_stat_database_xact_rollback", kCounter,
                    "Number of transactions in this database that have been rolled back"}},
    PostgresMetric{
        "blks_read",
        {"pg_stat_database_blks_read", kCounter, "Number of disk blocks read in this database"}},
    PostgresMetric{"blks_hit",
                   {"pg_stat_database_blks_hit", kCounter,
                    "Number of times disk blocks were found already in the buffer cache"}},
    PostgresMetric{"tup_returned",
                   {"pg_stat_database_tup_returned", kCounter,
                    "Number of rows returned by queries in this database"}},
    PostgresMetric{"tup_fetched",
                   {"pg_stat_database_tup_fetched", kCounter,
                    "Number of rows fetched by queries in this database"}},
    PostgresMetric{"tup_inserted",
                   {"pg_stat_database_tup_inserted", kCounter,
                    "Number of rows inserted by queries in this database"}},
    PostgresMetric{"tup_updated",
                   {"pg_stat_database_tup_updated", kCounter,
                    "Number of rows updated by queries in this database"}},
    PostgresMetric{"tup_deleted",
                   {"pg_stat_database_tup_deleted", kCounter,
                    "Number of rows deleted by queries in this database"}},
    PostgresMetric{"conflicts",
                   {"pg_stat_database_conflicts", kCounter,
                    "Number of queries canceled due to conflicts with recovery"}},
    PostgresMetric{"temp_files",
                   {"pg_stat_database_temp_files", kCounter,
                    "Number of temporary files created by queries in this database"}},
    PostgresMetric{"temp_bytes",
                   {"pg_stat_database_temp_bytes", kCounter,
                    "Bytes written to temporary files by queries in this database"}},
    PostgresMetric{
        "deadlocks",
        {"pg_stat_database_deadlocks", kCounter, "Number of deadlocks detected in this database"}},
    PostgresMetric{"blk_read_time",
                   {"pg_stat_database_blk_read_time", kCounter,
                    "Time spent reading data file blocks by backends, in milliseconds"}},
    PostgresMetric{"blk_write_time",
                   {"pg_stat_database_blk_write_time", kCounter,
                    "Time spent writing data file blocks by backends, in milliseconds"}},
    PostgresMetric{"stats_reset",
                   {"pg_stat_database_stats_reset", kCounter,
                    "Time at which these statistics were last reset"}},
    PostgresMetric{"checksum_failures",
                   {"pg_stat_database_checksum_failures", kCounter,
                    "Data page checksum failures detected in this database"}},
    PostgresMetric{"checksum_last_failure",
                   {"pg_stat_database_checksum_last_failure", kGauge,
                    "Time at which the last data page checksum failure was detected in this "
                    "database, or on a shared object; 0: none"}},
    PostgresMetric{"session_time",
                   {"pg_stat_database_session_time_seconds_total", kCounter,
                    "Time spent by database sessions in this database, in seconds"}},
    PostgresMetric{"idle_in_transaction_time",
                   {"pg_stat_database_idle_in_transaction_time_seconds_total", kCounter,
                    "Time spent idling while in a transaction in this database, in seconds"}},
    PostgresMetric{"active_time",
                   {"pg_stat_database_active_time_seconds_total", kCounter,
                    "Time spent executing SQL statements in this database, in seconds"}},
    PostgresMetric{
        "sessions",
        {"pg_stat_database_sessions", kCounter, "Sessions established to this database"}},
    PostgresMetric{"sessions_abandoned",
                   {"pg_stat_database_sessions_abandoned", kCounter,
                    "Sessions of this database that ended because the connection was lost"}},
    PostgresMetric{"sessions_fatal",
                   {"pg_stat_database_sessions_fatal", kCounter,
                    "Sessions of this database that ended by a fatal error"}},
    PostgresMetric{"sessions_killed",
                   {"pg_stat_database_sessions_killed", kCounter,
                    "Sessions of this database that an operator ended"}},
};
std::string database(const Facts& facts) {
  return fmt::format(
      R"(SELECT d.datid, d.datname, numbackends, xact_commit, xact_rollback, blks_read,
  blks_hit, tup_returned, tup_fetched, tup_inserted, tup_updated, tup_deleted, conflicts,
  temp_files, temp_bytes, deadlocks, blk_read_time, blk_write_time,
  coalesce(extract(epoch FROM stats_reset), 0) AS stats_reset, checksum_failures,
  CASE WHEN checksum_failures IS NOT NULL
    THEN coalesce(extract(epoch FROM checksum_last_failure), 0) END AS checksum_last_failure{}
FROM pg_stat_database d WHERE d.datname IS NOT NULL ORDER BY d.datid)",
      facts.version >= postgres_since::kSessionTimes
          ? ",\n  session_time / 1000.0 AS session_time, active_time / 1000.0 AS active_time,\n"
            "  idle_in_transaction_time / 1000.0 AS idle_in_transaction_time, sessions, "
            "sessions_abandoned, sessions_fatal, sessions_killed"
          : "");
}

constexpr std::array kConflicts = {
    PostgresMetric{"confl_tablespace",
                   {"pg_stat_database_conflicts_confl_tablespace", kCounter,
                    "Queries canceled due to dropped tablespaces"}},
    PostgresMetric{"confl_lock",
                   {"pg_stat_database_conflicts_confl_lock", kCounter,
                    "Queries canceled due to lock timeouts"}},
    PostgresMetric{"confl_snapshot",
                   {"pg_stat_database_conflicts_confl_snapshot", kCounter,
                    "Queries canceled due to old snapshots"}},
    PostgresMetric{"confl_bufferpin",
                   {"pg_stat_database_conflicts_confl_bufferpin", kCounter,
                    "Queries canceled due to pinned buffers"}},
    PostgresMetric{"confl_deadlock",
                   {"pg_stat_database_conflicts_confl_deadlock", kCounter,
                    "Queries canceled due to deadlocks with recovery"}},
    PostgresMetric{"confl_active_logicalslot",
                   {"pg_stat_database_conflicts_confl_active_logicalslot", kCounter,
                    "Uses of logical slots canceled due to old snapshots or too low a wal_level on "
                    "the primary"}},
};
std::string conflicts(const Facts& facts) {
  return fmt::format(
      R"(SELECT datid, datname, confl_tablespace, confl_lock, confl_snapshot,
  confl_bufferpin, confl_deadlock{} FROM pg_stat_database_conflicts ORDER BY datid)",
      facts.version >= postgres_since::kLogicalSlotConflicts ? ", confl_active_logicalslot" : "");
}

constexpr std::array kLocks = {
    PostgresMetric{"count", {"pg_locks_count", kGauge, "Number of locks"}},
};
std::string locks(const Facts& /*facts*/) {
  return R"(SELECT d.datname, m.mode, count(l.mode) AS count
FROM pg_database d
CROSS JOIN (VALUES ('accesssharelock'), ('rowsharelock'), ('rowexclusivelock'),
  ('shareupdateexclusivelock'), ('sharelock'), ('sharerowexclusivelock'), ('exclusivelock'),
  ('accessexclusivelock'), ('sireadlock')) AS m (mode)
LEFT JOIN (SELECT database, lower(mode) AS mode FROM pg_locks
  WHERE database IS NOT NULL AND pid <> pg_backend_pid()) AS l
  ON l.database = d.oid AND l.mode = m.mode
WHERE d.datallowconn GROUP BY d.datname, m.mode ORDER BY d.datname, m.mode)";
}

constexpr std::array kReplicas = {
    PostgresMetric{
        "lsn_diff",
        {"pg_stat_replication_pg_wal_lsn_diff", kGauge, "Lag in bytes between master and slave"}},
    PostgresMetric{"write_lag",
                   {"pg_stat_replication_write_lag_seconds", kGauge,
                    "Time until this replica had written recent log, in seconds"}},
    PostgresMetric{"flush_lag",
                   {"pg_stat_replication_flush_lag_seconds", kGauge,
                    "Time until this replica had flushed recent log, in seconds"}},
    PostgresMetric{"replay_lag",
                   {"pg_stat_replication_replay_lag_seconds", kGauge,
                    "Time until this replica had replayed recent log, in seconds"}},
};
std::string replicas(const Facts& /*facts*/) {
  return R"(SELECT r.application_name, coalesce(host(r.client_addr), '') AS client_addr, r.state,
  coalesce(s.slot_name, '') AS slot_name,
  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
    ELSE pg_current_wal_lsn() END, r.replay_lsn) AS lsn_diff,
  coalesce(extract(epoch FROM r.write_lag), 0) AS write_lag,
  coalesce(extract(epoch FROM r.flush_lag), 0) AS flush_lag,
  coalesce(extract(epoch FROM r.replay_lag), 0) AS replay_lag
FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
ORDER BY r.pid)";
}

constexpr std::array kSlots = {
    PostgresMetric{"current_lsn",
                   {"pg_replication_slot_slot_current_wal_lsn", kGauge, "current wal lsn value"}},
    PostgresMetric{"confirmed_lsn",
                   {"pg_replication_slot_slot_confirmed_flush_lsn", kGauge,
                    "last lsn confirmed flushed to the replication slot"}},
    PostgresMetric{"active",
                   {"pg_replication_slot_slot_is_active", kGauge,
                    "whether the replication slot is active or not"}},
    PostgresMetric{"retained",
                   {"pg_replication_slot_retained_bytes", kGauge,
                    "Write-ahead log that is kept for this slot, in bytes"}},
    PostgresMetric{"safe_size",
                   {"pg_replication_slot_safe_wal_size_bytes", kGauge,
                    "number of bytes that can be written to WAL such that this slot is not in "
                    "danger of getting in state lost"}},
};
std::string slots(const Facts& facts) {
  return fmt::format(
      R"(SELECT slot_name, slot_type, here - '0/0'::pg_lsn AS current_lsn,
  CASE WHEN active THEN coalesce(confirmed_flush_lsn, '0/0') - '0/0'::pg_lsn END AS confirmed_lsn,
  active, here - restart_lsn AS retained{}
FROM pg_replication_slots, (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
  ELSE pg_current_wal_lsn() END AS here) AS position
ORDER BY slot_name)",
      facts.version >= postgres_since::kSlotStatus ? ", safe_wal_size AS safe_size" : "");
}

constexpr std::array kSlotStatus = {
    PostgresMetric{"one",
                   {"pg_replication_slot_wal_status", kGauge,
                    "availability of WAL files claimed by this slot"}},
};
std::string slot_status(const Facts& facts) {
  if (facts.version < postgres_since::kSlotStatus) return {};
  return R"(SELECT slot_name, slot_type, wal_status, 1 AS one FROM pg_replication_slots
WHERE wal_status IS NOT NULL ORDER BY slot_name)";
}

constexpr std::array kBackgroundWriter = {
    PostgresMetric{"checkpoints_timed",
                   {"pg_stat_bgwriter_checkpoints_timed_total", kCounter,
                    "Number of scheduled checkpoints that have been performed"}},
    PostgresMetric{"checkpoints_req",
                   {"pg_stat_bgwriter_checkpoints_req_total", kCounter,
                    "Number of requested checkpoints that have been performed"}},
    PostgresMetric{"checkpoint_write_time",
                   {"pg_stat_bgwriter_checkpoint_write_time_total", kCounter,
                    "Time that checkpoints spent writing files to disk, in milliseconds"}},
    PostgresMetric{"checkpoint_sync_time",
                   {"pg_stat_bgwriter_checkpoint_sync_time_total", kCounter,
                    "Time that checkpoints spent synchronizing files to disk, in milliseconds"}},
    PostgresMetric{"buffers_checkpoint",
                   {"pg_stat_bgwriter_buffers_checkpoint_total", kCounter,
                    "Number of buffers written during checkpoints"}},
    PostgresMetric{"buffers_clean",
                   {"pg_stat_bgwriter_buffers_clean_total", kCounter,
                    "Number of buffers written by the background writer"}},
    PostgresMetric{"maxwritten_clean",
                   {"pg_stat_bgwriter_maxwritten_clean_total", kCounter,
                    "Cleaning scans that the background writer stopped because it had written "
                    "too many buffers"}},
    PostgresMetric{"buffers_backend",
                   {"pg_stat_bgwriter_buffers_backend_total", kCounter,
                    "Number of buffers written directly by a backend"}},
    PostgresMetric{"buffers_backend_fsync",
                   {"pg_stat_bgwriter_buffers_backend_fsync_total", kCounter,
                    "Number of times a backend had to execute its own fsync call"}},
    PostgresMetric{
        "buffers_alloc",
        {"pg_stat_bgwriter_buffers_alloc_total", kCounter, "Number of buffers allocated"}},
    PostgresMetric{"stats_reset",
                   {"pg_stat_bgwriter_stats_reset_total", kCounter,
                    "Time at which these statistics were last reset"}},
};
std::string background_writer(const Facts& facts) {
  return fmt::format(R"(SELECT {}buffers_clean, maxwritten_clean, buffers_alloc,
  coalesce(extract(epoch FROM stats_reset), 0) AS stats_reset FROM pg_stat_bgwriter)",
                     facts.version >= postgres_since::kCheckpointer
                         ? ""
                         : "checkpoints_timed, checkpoints_req, checkpoint_write_time, "
                           "checkpoint_sync_time,\n  buffers_checkpoint, buffers_backend, "
                           "buffers_backend_fsync, ");
}

constexpr std::array kCheckpointer = {
    PostgresMetric{"num_timed",
                   {"pg_stat_checkpointer_num_timed_total", kCounter,
                    "Number of scheduled checkpoints due to timeout"}},
    PostgresMetric{"num_requested",
                   {"pg_stat_checkpointer_num_requested_total", kCounter,
                    "Number of requested checkpoints that have been performed"}},
    PostgresMetric{"restartpoints_timed",
                   {"pg_stat_checkpointer_restartpoints_timed_total", kCounter,
                    "Number of scheduled restartpoints due to timeout"}},
    PostgresMetric{"restartpoints_req",
                   {"pg_stat_checkpointer_restartpoints_req_total", kCounter,
                    "Number of requested restartpoints"}},
    PostgresMetric{"restartpoints_done",
                   {"pg_stat_checkpointer_restartpoints_done_total", kCounter,
                    "Number of restartpoints that have been performed"}},
    PostgresMetric{"write_time",
                   {"pg_stat_checkpointer_write_time_total", kCounter,
                    "Time that checkpoints spent writing files to disk, in milliseconds"}},
    PostgresMetric{"sync_time",
                   {"pg_stat_checkpointer_sync_time_total", kCounter,
                    "Time that checkpoints spent synchronizing files to disk, in milliseconds"}},
    PostgresMetric{"buffers_written",
                   {"pg_stat_checkpointer_buffers_written_total", kCounter,
                    "Number of buffers written during checkpoints and restartpoints"}},
    PostgresMetric{"stats_reset",
                   {"pg_stat_checkpointer_stats_reset_total", kCounter,
                    "Time at which these statistics were last reset"}},
};
std::string checkpointer(const Facts& facts) {
  if (facts.version < postgres_since::kCheckpointer) return {};
  return R"(SELECT num_timed, num_requested, restartpoints_timed, restartpoints_req,
  restartpoints_done, write_time, sync_time, buffers_written,
  coalesce(extract(epoch FROM stats_reset), 0) AS stats_reset FROM pg_stat_checkpointer)";
}

constexpr std::array kArchiver = {
    PostgresMetric{"archived_count",
                   {"pg_stat_archiver_archived_count", kCounter,
                    "Number of WAL files that have been successfully archived"}},
    PostgresMetric{"failed_count",
                   {"pg_stat_archiver_failed_count", kCounter,
                    "Number of failed attempts for archiving WAL files"}},
    PostgresMetric{"last_archive_age",
                   {"pg_stat_archiver_last_archive_age", kGauge,
                    "Time in seconds since last WAL segment was successfully archived"}},
};
std::string archiver(const Facts& /*facts*/) {
  return R"(SELECT archived_count, failed_count,
  coalesce(extract(epoch FROM now() - last_archived_time)::float8, 'NaN') AS last_archive_age
FROM pg_stat_archiver)";
}

constexpr auto kEvery = PostgresPace::kEveryRun;
constexpr std::array kQueries = {
    PostgresQuery{"server", kEvery, PostgresBound::kNone, server, kServer},
    PostgresQuery{"activity", kEvery, PostgresBound::kNone, activity, kActivity, true},
    PostgresQuery{"transactions", kEvery, PostgresBound::kNone, transactions, kTransactions},
    PostgresQuery{"database", kEvery, PostgresBound::kNone, database, kDatabase},
    PostgresQuery{"conflicts", kEvery, PostgresBound::kNone, conflicts, kConflicts, true},
    PostgresQuery{"locks", kEvery, PostgresBound::kNone, locks, kLocks},
    PostgresQuery{"replicas", kEvery, PostgresBound::kNone, replicas, kReplicas, true},
    PostgresQuery{"slots", kEvery, PostgresBound::kNone, slots, kSlots},
    PostgresQuery{"slot status", kEvery, PostgresBound::kNone, slot_status, kSlotStatus},
    PostgresQuery{"background writer", kEvery, PostgresBound::kNone, background_writer,
                  kBackgroundWriter},
    PostgresQuery{"checkpointer", kEvery, PostgresBound::kNone, checkpointer, kCheckpointer},
    PostgresQuery{"archiver", kEvery, PostgresBound::kNone, archiver, kArchiver, true},
};

}  // namespace

std::span<const PostgresQuery> postgres_queries() {
  return kQueries;
}

}  // namespace nexus::monitor

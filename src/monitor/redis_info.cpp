#include "monitor/redis_info.hpp"

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr auto kCounter = MetricType::kCounter;
constexpr auto kGauge = MetricType::kGauge;

// Sorted by field.
constexpr std::array kFields = {
    RedisField{"acl_access_denied_auth", "acl_access_denied_auth_total", kCounter},
    RedisField{"acl_access_denied_channel", "acl_access_denied_channel_total", kCounter},
    RedisField{"acl_access_denied_cmd", "acl_access_denied_cmd_total", kCounter},
    RedisField{"acl_access_denied_key", "acl_access_denied_key_total", kCounter},
    RedisField{"active_defrag_hits", "defrag_hits", kGauge},
    RedisField{"active_defrag_key_hits", "defrag_key_hits", kGauge},
    RedisField{"active_defrag_key_misses", "defrag_key_misses", kGauge},
    RedisField{"active_defrag_misses", "defrag_misses", kGauge},
    RedisField{"active_defrag_running", "active_defrag_running", kGauge},
    RedisField{"allocator_active", "allocator_active_bytes", kGauge},
    RedisField{"allocator_allocated", "allocator_allocated_bytes", kGauge},
    RedisField{"allocator_frag_bytes", "allocator_frag_bytes", kGauge},
    RedisField{"allocator_frag_ratio", "allocator_frag_ratio", kGauge},
    RedisField{"allocator_resident", "allocator_resident_bytes", kGauge},
    RedisField{"allocator_rss_bytes", "allocator_rss_bytes", kGauge},
    RedisField{"allocator_rss_ratio", "allocator_rss_ratio", kGauge},
    RedisField{"aof_base_size", "aof_base_size_bytes", kGauge},
    RedisField{"aof_buffer_length", "aof_buffer_length", kGauge},
    RedisField{"aof_current_rewrite_time_sec", "aof_current_rewrite_duration_sec", kGauge},
    RedisField{"aof_current_size", "aof_current_size_bytes", kGauge},
    RedisField{"aof_delayed_fsync", "aof_delayed_fsync", kGauge},
    RedisField{"aof_enabled", "aof_enabled", kGauge},
    RedisField{"aof_last_bgrewrite_status", "aof_last_bgrewrite_status", kGauge},
    RedisField{"aof_last_cow_size", "aof_last_cow_size_bytes", kGauge},
    RedisField{"aof_last_rewrite_time_sec", "aof_last_rewrite_duration_sec", kGauge},
    RedisField{"aof_last_write_status", "aof_last_write_status", kGauge},
    RedisField{"aof_pending_bio_fsync", "aof_pending_bio_fsync", kGauge},
    RedisField{"aof_pending_rewrite", "aof_pending_rewrite", kGauge},
    RedisField{"aof_rewrite_buffer_length", "aof_rewrite_buffer_length", kGauge},
    RedisField{"aof_rewrite_in_progress", "aof_rewrite_in_progress", kGauge},
    RedisField{"aof_rewrite_scheduled", "aof_rewrite_scheduled", kGauge},
    RedisField{"async_loading", "async_loading", kGauge},
    RedisField{"blocked_clients", "blocked_clients", kGauge},
    RedisField{"client_biggest_input_buf", "client_biggest_input_buf", kGauge},
    RedisField{"client_longest_output_list", "client_longest_output_list", kGauge},
    RedisField{"client_recent_max_input_buffer", "client_recent_max_input_buffer_bytes", kGauge},
    RedisField{"client_recent_max_output_buffer", "client_recent_max_output_buffer_bytes", kGauge},
    RedisField{"clients_in_timeout_table", "clients_in_timeout_table", kGauge},
    RedisField{"cluster_connections", "cluster_connections", kGauge},
    RedisField{"cluster_enabled", "cluster_enabled", kGauge},
    RedisField{"cluster_stats_messages_received", "cluster_messages_received_total", kGauge},
    RedisField{"cluster_stats_messages_sent", "cluster_messages_sent_total", kGauge},
    RedisField{"configured_hz", "configured_hz", kGauge},
    RedisField{"connected_clients", "connected_clients", kGauge},
    RedisField{"connected_slaves", "connected_slaves", kGauge},
    RedisField{"current_eviction_exceeded_time", "current_eviction_exceeded_time_ms", kGauge},
    RedisField{"dump_payload_sanitizations", "dump_payload_sanitizations", kCounter},
    RedisField{"eventloop_cycles", "eventloop_cycles_total", kCounter},
    RedisField{"eventloop_duration_cmd_sum", "eventloop_duration_cmd_sum_usec_total", kCounter},
    RedisField{"eventloop_duration_sum", "eventloop_duration_sum_usec_total", kCounter},
    RedisField{"evicted_clients", "evicted_clients_total", kCounter},
    RedisField{"evicted_keys", "evicted_keys_total", kCounter},
    RedisField{"expire_cycle_cpu_milliseconds", "expire_cycle_cpu_time_ms_total", kCounter},
    RedisField{"expired_keys", "expired_keys_total", kCounter},
    RedisField{"expired_stale_perc", "expired_stale_percentage", kGauge},
    RedisField{"expired_time_cap_reached_count", "expired_time_cap_reached_total", kCounter},
    RedisField{"hz", "hz", kGauge},
    RedisField{"instantaneous_input_kbps", "instantaneous_input_kbps", kGauge},
    RedisField{"instantaneous_ops_per_sec", "instantaneous_ops_per_sec", kGauge},
    RedisField{"instantaneous_output_kbps", "instantaneous_output_kbps", kGauge},
    RedisField{"io_threaded_reads_processed", "io_threaded_reads_processed", kCounter},
    RedisField{"io_threaded_writes_processed", "io_threaded_writes_processed", kCounter},
    RedisField{"io_threads_active", "io_threads_active", kGauge},
    RedisField{"keyspace_hits", "keyspace_hits_total", kCounter},
    RedisField{"keyspace_misses", "keyspace_misses_total", kCounter},
    RedisField{"latest_fork_usec", "latest_fork_seconds", kGauge},
    RedisField{"lazyfree_pending_objects", "lazyfree_pending_objects", kGauge},
    RedisField{"lazyfreed_objects", "lazyfreed_objects", kGauge},
    RedisField{"loading", "loading_dump_file", kGauge},
    RedisField{"master_repl_offset", "master_repl_offset", kGauge},
    RedisField{"maxclients", "max_clients", kGauge},
    RedisField{"maxmemory", "memory_max_bytes", kGauge},
    RedisField{"mem_aof_buffer", "mem_aof_buffer_bytes", kGauge},
    RedisField{"mem_clients_normal", "mem_clients_normal", kGauge},
    RedisField{"mem_clients_slaves", "mem_clients_slaves", kGauge},
    RedisField{"mem_cluster_links", "mem_cluster_links_bytes", kGauge},
    RedisField{"mem_fragmentation_bytes", "mem_fragmentation_bytes", kGauge},
    RedisField{"mem_fragmentation_ratio", "mem_fragmentation_ratio", kGauge},
    RedisField{"mem_not_counted_for_evict", "mem_not_counted_for_eviction_bytes", kGauge},
    RedisField{"mem_replication_backlog", "mem_replication_backlog_bytes", kGauge},
    RedisField{"mem_total_replication_buffers", "mem_total_replication_buffers_bytes", kGauge},
    RedisField{"migrate_cached_sockets", "migrate_cached_sockets_total", kGauge},
    RedisField{"module_fork_in_progress", "module_fork_in_progress", kGauge},
    RedisField{"module_fork_last_cow_size", "module_fork_last_cow_size", kGauge},
    RedisField{"number_of_cached_scripts", "number_of_cached_scripts", kGauge},
    RedisField{"number_of_functions", "number_of_functions", kGauge},
    RedisField{"number_of_libraries", "number_of_libraries", kGauge},
    RedisField{"process_id", "process_id", kGauge},
    RedisField{"pubsub_channels", "pubsub_channels", kGauge},
    RedisField{"pubsub_clients", "pubsub_clients", kGauge},
    RedisField{"pubsub_patterns", "pubsub_patterns", kGauge},
    RedisField{"pubsubshard_channels", "pubsubshard_channels", kGauge},
    RedisField{"rdb_bgsave_in_progress", "rdb_bgsave_in_progress", kGauge},
    RedisField{"rdb_changes_since_last_save", "rdb_changes_since_last_save", kGauge},
    RedisField{"rdb_current_bgsave_time_sec", "rdb_current_bgsave_duration_sec", kGauge},
    RedisField{"rdb_last_bgsave_status", "rdb_last_bgsave_status", kGauge},
    RedisField{"rdb_last_bgsave_time_sec", "rdb_last_bgsave_duration_sec", kGauge},
    RedisField{"rdb_last_cow_size", "rdb_last_cow_size_bytes", kGauge},
    RedisField{"rdb_last_load_keys_expired", "rdb_last_load_expired_keys", kGauge},
    RedisField{"rdb_last_load_keys_loaded", "rdb_last_load_loaded_keys", kGauge},
    RedisField{"rdb_last_save_time", "rdb_last_save_timestamp_seconds", kGauge},
    RedisField{"rdb_saves", "rdb_saves_total", kGauge},
    RedisField{"rejected_connections", "rejected_connections_total", kCounter},
    RedisField{"repl_backlog_active", "repl_backlog_is_active", kGauge},
    RedisField{"repl_backlog_first_byte_offset", "repl_backlog_first_byte_offset", kGauge},
    RedisField{"repl_backlog_histlen", "repl_backlog_history_bytes", kGauge},
    RedisField{"repl_backlog_size", "replication_backlog_bytes", kGauge},
    RedisField{"reply_buffer_expands", "reply_buffer_expands_total", kCounter},
    RedisField{"reply_buffer_shrinks", "reply_buffer_shrinks_total", kCounter},
    RedisField{"second_repl_offset", "second_repl_offset", kGauge},
    RedisField{"slave_expires_tracked_keys", "slave_expires_tracked_keys", kGauge},
    RedisField{"slave_priority", "slave_priority", kGauge},
    RedisField{"sync_full", "replica_resyncs_full", kGauge},
    RedisField{"sync_partial_err", "replica_partial_resync_denied", kGauge},
    RedisField{"sync_partial_ok", "replica_partial_resync_accepted", kGauge},
    RedisField{"total_active_defrag_time", "defrag_time_total", kCounter},
    RedisField{"total_blocking_keys", "total_blocking_keys", kGauge},
    RedisField{"total_blocking_keys_on_nokey", "total_blocking_keys_on_nokey", kGauge},
    RedisField{"total_commands_processed", "commands_processed_total", kCounter},
    RedisField{"total_connections_received", "connections_received_total", kCounter},
    RedisField{"total_error_replies", "total_error_replies", kCounter},
    RedisField{"total_eviction_exceeded_time", "eviction_exceeded_time_ms_total", kCounter},
    RedisField{"total_net_input_bytes", "net_input_bytes_total", kCounter},
    RedisField{"total_net_output_bytes", "net_output_bytes_total", kCounter},
    RedisField{"total_net_repl_input_bytes", "net_repl_input_bytes_total", kCounter},
    RedisField{"total_net_repl_output_bytes", "net_repl_output_bytes_total", kCounter},
    RedisField{"total_reads_processed", "total_reads_processed", kCounter},
    RedisField{"total_watched_keys", "total_watched_keys", kGauge},
    RedisField{"total_writes_processed", "total_writes_processed", kCounter},
    RedisField{"tracking_clients", "tracking_clients", kGauge},
    RedisField{"tracking_total_items", "tracking_total_items", kGauge},
    RedisField{"tracking_total_keys", "tracking_total_keys", kGauge},
    RedisField{"tracking_total_prefixes", "tracking_total_prefixes", kGauge},
    RedisField{"unexpected_error_replies", "unexpected_error_replies", kCounter},
    RedisField{"uptime_in_seconds", "uptime_in_seconds", kGauge},
    RedisField{"used_cpu_sys", "cpu_sys_seconds_total", kCounter},
    RedisField{"used_cpu_sys_children", "cpu_sys_children_seconds_total", kCounter},
    RedisField{"used_cpu_sys_main_thread", "cpu_sys_main_thread_seconds_total", kCounter},
    RedisField{"used_cpu_user", "cpu_user_seconds_total", kCounter},
    RedisField{"used_cpu_user_children", "cpu_user_children_seconds_total", kCounter},
    RedisField{"used_cpu_user_main_thread", "cpu_user_main_thread_seconds_total", kCounter},
    RedisField{"used_memory", "memory_used_bytes", kGauge},
    RedisField{"used_memory_dataset", "memory_used_dataset_bytes", kGauge},
    RedisField{"used_memory_functions", "memory_used_functions_bytes", kGauge},
    RedisField{"used_memory_lua", "memory_used_lua_bytes", kGauge},
    RedisField{"used_memory_overhead", "memory_used_overhead_bytes", kGauge},
    RedisField{"used_memory_peak", "memory_used_peak_bytes", kGauge},
    RedisField{"used_memory_rss", "memory_used_rss_bytes", kGauge},
    RedisField{"used_memory_scripts", "memory_used_scripts_bytes", kGauge},
    RedisField{"used_memory_scripts_eval", "memory_used_scripts_eval_bytes", kGauge},
    RedisField{"used_memory_startup", "memory_used_startup_bytes", kGauge},
    RedisField{"used_memory_vm_eval", "memory_used_vm_eval_bytes", kGauge},
    RedisField{"used_memory_vm_functions", "memory_used_vm_functions_bytes", kGauge},
    RedisField{"used_memory_vm_total", "memory_used_vm_total", kGauge},
    RedisField{"watching_clients", "watching_clients", kGauge},
};
static_assert(std::ranges::is_sorted(kFields, {}, &RedisField::field));

constexpr std::array<std::string_view, 14> kIgnored = {
    "arch_bits",        "executable",     "gcc_version",     "lru_clock",      "master_port",
    "monotonic_clock",  "redis_build_id", "redis_git_dirty", "redis_git_sha1", "run_id",
    "server_time_usec", "tcp_port",       "uptime_in_days",  "redis_version"};

}  // namespace

void each_redis_field(std::string_view text,
                      const std::function<void(std::string_view section, std::string_view name,
                                               std::string_view value)>& take) {
  std::string_view section;
  while (!text.empty()) {
    std::string_view line = base::trim(base::take_until(text, '\n'));
    if (line.starts_with('#')) {
      section = base::trim(line.substr(1));
      continue;
    }
    const std::string_view name = base::take_until(line, ':');
    if (!name.empty() && !line.empty()) take(section, name, line);
  }
}

const RedisField* find_redis_field(std::string_view field) {
  const auto found = std::ranges::lower_bound(kFields, field, {}, &RedisField::field);
  return found != kFields.end() && found->field == field ? &*found : nullptr;
}

bool is_ignored_redis_field(std::string_view field) {
  return field.ends_with("_human") || field.ends_with("_perc") || field.contains("replid") ||
         std::ranges::find(kIgnored, field) != kIgnored.end();
}

std::optional<double> parse_redis_value(std::string_view text) {
  for (const std::string_view yes : {"ok", "up", "yes", "true"}) {
    if (text == yes) return 1;
  }
  for (const std::string_view no : {"fail", "err", "down", "no", "false"}) {
    if (text == no) return 0;
  }
  return base::parse_double(text);
}

std::string_view redis_part(std::string_view parts, std::string_view key) {
  while (!parts.empty()) {
    std::string_view part = base::take_until(parts, ',');
    if (base::take_until(part, '=') == key) return part;
  }
  return {};
}

}  // namespace nexus::monitor

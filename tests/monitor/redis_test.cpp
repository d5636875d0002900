// The redis collector against Redis 7 as its package has it.
#include <catch2/catch.hpp>

#include "monitor/redis_info.hpp"
#include "monitor/remote_rig.hpp"
#include "nexus/base/text.hpp"
#include "support/recording_proxy.hpp"
#include "support/redis_server.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;
using monitor::testing::RemoteRig;

namespace {

config::Connections at(const config::RedisSection& section) {
  config::Connections out;
  out.redis = section;
  return out;
}

/// The words of commands as the protocol has them: "*2\r\n$4\r\nINFO\r\n$3\r\nall\r\n".
std::vector<std::string> commands_in(std::string_view said) {
  std::vector<std::string> out;
  while (!said.empty()) {
    const auto words = base::parse_uint(base::take_until(said, '\n').substr(1, 1)).value_or(0);
    std::string command;
    for (std::uint64_t i = 0; i < words; ++i) {
      (void)base::take_until(said, '\n');
      command += (i > 0 ? " " : "") + std::string(base::trim(base::take_until(said, '\n')));
    }
    out.push_back(command);
  }
  return out;
}

}  // namespace

TEST_CASE("redis collector: INFO in full, slowlog and latency, under redis_exporter's names") {
  test::RedisServer server({"--maxmemory", "64mb", "--slowlog-log-slower-than", "0",
                            "--latency-monitor-threshold", "1", "--enable-debug-command", "yes"});
  server.execute({"SET", "a", "1"});
  server.execute({"SET", "b", "1", "EX", "1000"});
  server.execute({"GET", "a"});
  server.execute({"GET", "nothing"});
  server.execute({"DEBUG", "SLEEP", "0.01"});
  RemoteRig rig("redis", at(server.section()));
  REQUIRE(rig.collect());
  const auto& sink = rig.sink;
  CHECK(sink.value("redis_up") == 1);
  CHECK(sink.value("redis_memory_max_bytes") == 64 << 20);
  CHECK(sink.value("redis_memory_used_bytes") > 100'000);
  CHECK(sink.has("redis_mem_fragmentation_ratio"));
  CHECK(sink.value("redis_evicted_keys_total") == 0);
  CHECK(sink.value("redis_keyspace_hits_total") == 1);
  CHECK(sink.value("redis_keyspace_misses_total") == 1);
  CHECK(sink.value("redis_connected_clients") >= 1);
  CHECK(sink.value("redis_max_clients") > 0);
  CHECK(sink.value("redis_connections_received_total") >= 6);
  CHECK(sink.value("redis_rdb_last_bgsave_status") == 1);
  CHECK(sink.value("redis_aof_enabled") == 0);
  CHECK(sink.value("redis_connected_slaves") == 0);
  CHECK(sink.value("redis_db_keys{db=\"db0\"}") == 2);
  CHECK(sink.value("redis_db_keys_expiring{db=\"db0\"}") == 1);
  CHECK(sink.has("redis_db_avg_ttl_seconds{db=\"db0\"}"));  // Redis estimates it by and by
  CHECK(sink.value("redis_commands_total{cmd=\"get\"}") == 2);
  CHECK(sink.has("redis_commands_duration_seconds_total{cmd=\"set\"}"));
  CHECK(sink.value("redis_commands_failed_calls_total{cmd=\"get\"}") == 0);
  CHECK(sink.has("redis_latency_percentiles_usec{cmd=\"get\",quantile=\"0.99\"}"));
  CHECK(sink.has("redis_latency_percentiles_usec{cmd=\"get\",quantile=\"0.999\"}"));
  CHECK(sink.has("redis_config_maxclients"));
  CHECK(sink.has("redis_expired_stale_percentage"));
  CHECK(sink.has("redis_latest_fork_seconds"));
  CHECK(sink.value("redis_process_id") > 1);
  CHECK(sink.text().contains("maxmemory_policy=\"noeviction\",os="));
  CHECK(sink.value("redis_start_time_seconds") > 1.6e9);
  CHECK(sink.value("redis_slowlog_length") >= 5);
  CHECK(sink.value("redis_slowlog_entries{cmd=\"debug\"}") == 1);
  CHECK(sink.value("redis_slowlog_longest_seconds{cmd=\"debug\"}") >= 0.01);
  CHECK(sink.value("redis_latency_spike_duration_seconds{event_name=\"command\"}") >= 0.01);
  CHECK(sink.has("redis_exporter_last_scrape_ping_time_seconds"));
  // A number that redis_exporter has no name for; an identity is none.
  CHECK(sink.has("redis_total_forks"));
  CHECK(sink.has("redis_eviction_exceeded_time_ms_total"));
  CHECK(sink.has("redis_expire_cycle_cpu_time_ms_total"));
  CHECK(sink.value("redis_hz") == 10);
  CHECK(sink.value("redis_configured_hz") == 10);
  CHECK(sink.has("redis_rdb_saves_total"));
  // Of a histogram (exporters.py sees the names of its lines).
  CHECK(sink.value("redis_commands_latencies_usec{cmd=\"get\",le=\"+Inf\"}") == 2);
  CHECK(sink.value("redis_config_io_threads") == 1);
  CHECK(sink.value("redis_config_repl_backlog_size") == 1 << 20);
  CHECK(
      sink.value(R"(redis_config_client_output_buffer_limit_bytes{class="pubsub",limit="soft"})") ==
      8 << 20);
  CHECK(sink.value("redis_config_client_output_buffer_limit_overcome_seconds{class=\"pubsub\","
                   "limit=\"soft\"}") == 60);
  CHECK_FALSE(sink.text().contains("redis_redis_git_sha1"));
  CHECK_FALSE(sink.text().contains("redis_run_id"));
  const auto first = sink.text();
  REQUIRE(rig.collect());
  CHECK(rig.sink.count() >= 150);
}

TEST_CASE("redis collector: a replica and its master") {
  test::RedisServer master;
  // Over TCP a replica needs an address; a unix socket cannot be one, so the link is down.
  test::RedisServer replica({"--replicaof", "127.0.0.1", "1"});
  RemoteRig rig("redis", at(replica.section()));
  REQUIRE(rig.collect());
  CHECK(rig.sink.value("redis_master_link_up{master_host=\"127.0.0.1\",master_port=\"1\"}") == 0);
  CHECK(rig.sink.value(
            "redis_slave_info{master_host=\"127.0.0.1\",master_port=\"1\",read_only=\"1\"}") == 1);
}

TEST_CASE("redis collector: what it says to the server is short, cheap and no secret") {
  test::RedisServer server;
  const test::TemporaryDirectory directory;
  auto section = server.section();
  section.host = directory.file("proxy.sock");
  test::RecordingProxy proxy(section.host, server.socket());
  RemoteRig rig("redis", at(section));
  for (int i = 0; i < 3; ++i) REQUIRE(rig.collect());
  std::vector<std::string> expected = {"CLIENT SETNAME nexus-agent"};
  for (int i = 0; i < 3; ++i) {
    for (const auto* one : {"PING", "INFO all", "SLOWLOG LEN", "SLOWLOG GET 16", "LATENCY LATEST",
                            "LATENCY HISTOGRAM"})
      expected.emplace_back(one);
    if (i > 0) continue;  // settings are asked for once a minute
    expected.emplace_back("CONFIG GET io-threads");
    expected.emplace_back("CONFIG GET client-output-buffer-limit");
  }
  CHECK(commands_in(proxy.said()) == expected);
}

TEST_CASE("redis collector: an access control list may forbid all but INFO") {
  test::RedisServer server;
  server.execute({"ACL", "SETUSER", "watcher", "on", ">pass", "-@all", "+info"});
  auto section = server.section();
  section.user = "watcher";
  section.password = config::Secret("pass");
  RemoteRig rig("redis", at(section));
  const Status refused = rig.collect();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::kPermissionDenied);
  CHECK(rig.sink.value("redis_up") == 1);
  CHECK(rig.sink.has("redis_memory_used_bytes"));
  CHECK(rig.collect());  // what is forbidden is left out for a while

  server.execute({"ACL", "SETUSER", "enough", "on", ">pass", "+@all", "-keys", "-monitor"});
  section.user = "enough";
  RemoteRig whole("redis", at(section));
  CHECK(whole.collect());
}

TEST_CASE("redis collector: a server that hangs, leaves or refuses is down, and up again after") {
  test::RedisServer server;
  auto section = server.section();
  section.timeout = 200ms;
  RemoteRig rig("redis", at(section));
  REQUIRE(test::eventually([&] { return rig.collect().has_value(); }));  // in time, once
  server.freeze();
  Status status = rig.collect();
  server.thaw();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kTimeout);
  CHECK(rig.sink.text() == "redis_up 0\n");
  CHECK(test::eventually([&] { return rig.collect().has_value(); }));
  server.stop();
  CHECK(rig.collect().error().code() == Errc::kUnavailable);
  CHECK(rig.sink.value("redis_up") == 0);
  server.start();
  CHECK(test::eventually([&] { return rig.collect().has_value(); }));
  CHECK(rig.sink.value("redis_up") == 1);

  section.password = config::Secret("wrong");
  RemoteRig wrong("redis", at(section));
  status = wrong.collect();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kPermissionDenied);
  CHECK(wrong.sink.text() == "redis_up 0\n");
  RemoteRig none("redis", {});
  CHECK(none.collect().error().code() == Errc::kNotFound);
}

TEST_CASE("redis: values and parts of INFO") {
  CHECK(parse_redis_value("1.5") == 1.5);
  CHECK(parse_redis_value("ok") == 1);
  CHECK(parse_redis_value("err") == 0);
  CHECK(parse_redis_value("noeviction") == std::nullopt);
  CHECK(redis_part("keys=1,expires=2,avg_ttl=3", "expires") == "2");
  CHECK(redis_part("keys=1", "expires").empty());
  CHECK(redis_part("", "a").empty());
  CHECK(find_redis_field("used_memory")->metric == "memory_used_bytes");
  CHECK(find_redis_field("nothing") == nullptr);
}

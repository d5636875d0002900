// Answers that are large: what they hold, together with others, and how they are refused.
#include <fstream>

#include "rooms.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

constexpr int kSeries = 380;
constexpr std::size_t kSteps = 11'001;  // with these series nearly all that a query may make
constexpr std::uint64_t kMiB = 1 << 20;

/// Series with a sample now and then, asked for at steps of 30 ms.
struct Wide {
  Wide() {
    for (int i = 0; i < kSeries; ++i) {
      const std::string number = std::to_string(i);
      world.sample("wide", {{"i", number}}, i + 0.5);
    }
    for (int i = 0; i < 10; ++i) {
      world.tick();
      world.clock.advance(60s);
    }
    router = std::make_unique<Router>(all_routes(rooms));
    end = base::to_unix_millis(world.clock.wall());
  }
  Response get(
      std::string_view path, World::Params query,
      std::function<bool()> cancelled = [] { return false; }) const {
    const auto match = router->match(Method::kGet, path);
    REQUIRE(match.route != nullptr);
    Request request;
    request.method = Method::kGet;
    request.path = path;
    request.query = std::move(query);
    request.cancelled = std::move(cancelled);
    return match.route->handler(request);
  }
  [[nodiscard]] World::Params range(std::string query) const {
    const std::int64_t start = end - 30 * (static_cast<std::int64_t>(kSteps) - 1);
    return {{"query", std::move(query)},
            {"start", fmt::format("{}.{:03}", start / 1000, start % 1000)},
            {"end", fmt::format("{}.{:03}", end / 1000, end % 1000)},
            {"step", "0.03"}};
  }
  [[nodiscard]] Response largest() const { return get("/api/v1/query_range", range("wide")); }

  World world;
  Rooms rooms = world.rooms();
  std::shared_ptr<base::MemoryBudget> budget = rooms.answers;
  std::unique_ptr<Router> router;
  std::int64_t end = 0;
};

/// Of this process.
std::uint64_t resident_bytes() {
  constexpr std::string_view kName = "VmRSS:";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(kName)) return std::stoull(line.substr(kName.size())) << 10;
  }
  return 0;
}

js::value error_of(const Response& response, unsigned status) {
  REQUIRE(response.status == status);
  return js::parse(*response.body);
}

}  // namespace

TEST_CASE("the largest answer is written from what the query made, in bounded memory") {
  const Wide wide;
  [[maybe_unused]] const std::uint64_t before = resident_bytes();
  std::uint64_t most_resident = 0;
  std::uint64_t brackets = 0;
  std::uint64_t bytes = 0;
  {
    const Response response = wide.largest();
    REQUIRE(response.status == 200);
    REQUIRE(response.rest);
    CHECK(wide.budget->held() > 31 * kMiB);
    CHECK(wide.budget->held() < 34 * kMiB);
    std::string piece = *response.body;
    CHECK(piece.starts_with(
        R"({"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"wide","i":"0"},"values":[[)"));
    std::size_t largest = 0;
    int pieces = 0;
    for (bool is_more = true; is_more; is_more = response.rest->append(piece)) {
      bytes += piece.size();
      brackets += static_cast<std::uint64_t>(std::ranges::count(piece, '['));
      largest = std::max(largest, piece.size());
      if (++pieces % 64 == 0) most_resident = std::max(most_resident, resident_bytes());
      piece.clear();
    }
    CHECK(piece.ends_with("]]}]}}\n"));
    bytes += piece.size();
    brackets += static_cast<std::uint64_t>(std::ranges::count(piece, '['));
    CHECK(largest < 300'000);
  }
  CHECK(brackets == 1 + kSeries + kSeries * kSteps);
  CHECK(bytes > 80 * kMiB);
  CHECK(wide.budget->held() == 0);
#ifndef NEXUS_SANITIZED  // a sanitizer's own memory is not the answer's
  CHECK(most_resident < before + 48 * kMiB);
#endif
}

TEST_CASE("two large answers go side by side; one more is refused until one of them is written") {
  const Wide wide;
  auto first = std::make_unique<Response>(wide.largest());
  const Response second = wide.get("/health/metrics", {{"metric", "wide"}, {"hours", "24"}});
  const Response third = wide.largest();
  REQUIRE(first->rest);
  CHECK(second.status == 200);
  REQUIRE(third.rest);
  const auto refused = error_of(wide.largest(), 503);
  CHECK(refused.at("status") == "error");
  CHECK(refused.at("errorType") == "unavailable");
  CHECK(std::string_view(refused.at("error").as_string()).contains("other queries and answers"));
  CHECK(nexus::test::metric(wide.world.self, "nexus_queries_stopped_total", "busy") == 1);
  // What is small has a part of its own.
  CHECK(wide.get("/api/v1/query", {{"query", "sum(wide)"}}).status == 200);
  CHECK(wide.get("/api/v1/series", {{"match[]", "wide"}}).status == 200);
  first.reset();
  CHECK(wide.largest().rest);
}

TEST_CASE("what a query held is given back however it ends") {
  const Wide wide;
  const auto canceled = wide.get("/api/v1/query_range", wide.range("wide"), [] { return true; });
  CHECK(error_of(canceled, 503).at("errorType") == "canceled");
  CHECK(wide.budget->held() == 0);
  const auto too_large = wide.get("/api/v1/query_range", wide.range("wide unless wide"));
  CHECK(error_of(too_large, 422).at("errorType") == "execution");
  CHECK(wide.budget->held() == 0);
  const auto conflict = wide.get("/api/v1/query", {{"query", "wide + on() wide"}});
  CHECK(error_of(conflict, 422).at("errorType") == "execution");
  CHECK(wide.budget->held() == 0);
  // A short answer holds its text, until that is written.
  {
    const auto small = wide.get("/api/v1/query", {{"query", "wide"}});
    CHECK(!small.rest);
    CHECK(wide.budget->held() >= small.body->size());
    CHECK(wide.budget->held() <= 2 * small.body->size());
  }
  CHECK(wide.budget->held() == 0);
}

TEST_CASE("a long answer has the digits of the short one, row by row") {
  const Wide wide;
  std::string whole;
  const Response response = wide.largest();
  whole = *response.body;
  for (bool is_more = response.rest != nullptr; is_more && whole.size() < 8 * kMiB;)
    is_more = response.rest->append(whole);
  auto one = wide.range("wide{i=\"10\"}");  // sorted as text, it is the third
  const Response alone = wide.get("/api/v1/query_range", one);
  std::string row = *alone.body;
  for (bool is_more = alone.rest != nullptr; is_more;) is_more = alone.rest->append(row);
  const auto begin = row.find("{\"metric\"");
  const auto end = row.rfind("]}}");
  REQUIRE(begin != std::string::npos);
  CHECK(whole.find(row.substr(begin, end - begin)) != std::string::npos);
}

TEST_CASE("expressions of viewers are read off the io thread, and their number is bounded") {
  World world;
  for (const auto method : {Method::kGet, Method::kPost}) {
    for (const std::string_view path :
         {"query", "query_range", "query_exemplars", "parse_query", "format_query", "series",
          "labels", "label/x/values", "rules"}) {
      const auto match = world.router->match(method, "/api/v1/" + std::string(path));
      if (match.route == nullptr) continue;  // not of this method
      INFO(path);
      CHECK(match.route->runs == Runs::kBlocking);
    }
  }
  const auto regexes = [](std::size_t count) {
    std::string out = "{";
    for (std::size_t i = 0; i < count; ++i) out += fmt::format("l{}=~\"a+{}\",", i, i);
    return out + "}";
  };
  for (const std::string_view path : {"query", "parse_query", "format_query", "query_exemplars"}) {
    INFO(path);
    const auto url = "/api/v1/" + std::string(path);
    CHECK(world.get(url, {{"query", regexes(64)}}).status == 200);
    const auto refused = error_of(world.get(url, {{"query", regexes(65)}}), 400);
    CHECK(std::string_view(refused.at("error").as_string()).contains("at most 64 regular"));
  }
  const World::Params several = {{"match[]", regexes(33)}, {"match[]", regexes(32)}};
  CHECK(error_of(world.get("/api/v1/series", several), 400).at("errorType") == "bad_data");
  const World::Params filters = {{"filter", regexes(5)}, {"filter", regexes(4)}};
  CHECK(message_of(world.get("/health/alerts", filters), 400) ==
        "filter: at most 8 regular expressions are allowed");
}

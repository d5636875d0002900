#include "nexus/base/id.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <thread>
#include <vector>

using namespace nexus;
using namespace nexus::base;

TEST_CASE("ids of one millisecond are in the order in which they were made") {
  const WallTime now = from_unix_millis(1'700'000'000'000);
  std::vector<std::string> ids;
  ids.reserve(20'000);
  for (int i = 0; i < 20'000; ++i) ids.push_back(make_id(now));
  CHECK(std::ranges::is_sorted(ids));
  CHECK(std::ranges::adjacent_find(ids) == ids.end());
  CHECK(std::ranges::all_of(ids, is_id));
  // What RFC 9562 fixes: the time, the version, the variant.
  CHECK(std::ranges::all_of(ids, [](const std::string& id) {
    return id.starts_with("018bcfe5-6800-7") && std::string_view("89ab").contains(id[19]);
  }));
  CHECK(make_id(now + Millis(1)) > ids.back());
  CHECK(make_id(now - Millis(1)) < ids.front());
}

TEST_CASE("threads make no id twice") {
  const WallTime now = from_unix_millis(1'700'000'000'000);
  std::vector<std::vector<std::string>> made(4);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : made) {
      threads.emplace_back([&mine, now] {
        for (int i = 0; i < 5'000; ++i) mine.push_back(make_id(now));
      });
    }
  }
  std::set<std::string> all;
  for (const auto& mine : made) {
    CHECK(std::ranges::is_sorted(mine));
    all.insert(mine.begin(), mine.end());
  }
  CHECK(all.size() == 20'000);
}

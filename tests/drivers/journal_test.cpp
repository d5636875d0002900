// The journal of a real systemd: tests/testbed/room_systemd.py boots one and runs these in it.
#include "nexus/drivers/journal.hpp"

#include <catch2/catch.hpp>

#include "drivers/machine.hpp"
#include "nexus/host/subprocess.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::drivers;
using namespace nexus::drivers::testing;

namespace {

const std::vector<std::string> kUnits = {"nexus-test-log.service"};

void journalctl(std::vector<std::string> arguments) {
  base::SystemClock clock;
  arguments.insert(arguments.begin(), "/usr/bin/journalctl");
  const auto exit = host::run({.argv = std::move(arguments)}, clock, clock.steady() + kLong);
  REQUIRE(exit);
  INFO(exit->output);
  REQUIRE(exit->status == 0);
}

/// A unit that says something each time it is started.
class Talker {
 public:
  Talker() : unit_("nexus-test-log.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n") {}
  void say(const std::string& what) const {
    unit_.rewrite("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'printf \"" + what + "\"'\n");
    systemctl({"start", unit_.name()});
    journalctl({"--sync"});
  }

 private:
  TestUnit unit_;
};

struct Reading {
  std::unique_ptr<JournalReader> reader;
  std::vector<std::string> said;

  explicit Reading(const std::string& cursor, JournalFrom from = JournalFrom::kEnd) {
    auto opened = JournalReader::open(kUnits, cursor, from);
    INFO((opened ? "" : opened.error().message()));
    REQUIRE(opened);
    reader = std::move(*opened);
  }
  void read() {
    const auto count = reader->read(1000, 100, [&](std::string_view message) {
      // systemd says of the unit too what becomes of it.
      if (message.starts_with("say ")) said.emplace_back(message.substr(4));
    });
    REQUIRE(count);
  }
  bool has(const std::vector<std::string>& expected) {
    const bool all = test::eventually([&] {
      read();
      return said.size() >= expected.size();
    });
    read();
    CHECK(said == expected);
    return all;
  }
};

}  // namespace

TEST_CASE("journal: a unit that has said nothing yet is followed, and its cursor kept",
          "[.systemd]") {
  const Talker talker;
  Reading first("");
  CHECK(first.reader->cursor().empty());
  talker.say("say one\\nsay two\\n");
  CHECK(first.has({"one", "two"}));
  const std::string cursor = first.reader->cursor();
  CHECK_FALSE(cursor.empty());
  talker.say("say three\\n");
  Reading second(cursor);  // after a restart
  CHECK(second.has({"three"}));
  CHECK(first.has({"one", "two", "three"}));
  Reading end("");  // what is there already is of no interest
  CHECK_FALSE(end.reader->cursor().empty());
  talker.say("say four\\n");
  CHECK(end.has({"four"}));
  Reading all("", JournalFrom::kBegin);
  CHECK(all.has({"one", "two", "three", "four"}));
}

TEST_CASE("journal: a rotation loses nothing and doubles nothing, for readers open and to come",
          "[.systemd]") {
  const Talker talker;
  Reading open("");
  talker.say("say before\\n");
  CHECK(open.has({"before"}));
  const std::string cursor = open.reader->cursor();
  for (int i = 0; i < 3; ++i) {
    journalctl({"--rotate"});
    talker.say("say after " + std::to_string(i) + "\\n");
  }
  CHECK(open.has({"before", "after 0", "after 1", "after 2"}));
  Reading later(cursor);
  CHECK(later.has({"after 0", "after 1", "after 2"}));
  // The entry of the cursor is vacuumed away, with all that came before.
  journalctl({"--rotate"});
  journalctl({"--vacuum-files=1"});
  talker.say("say at last\\n");
  Reading gone(cursor);
  CHECK(test::eventually([&] {
    gone.read();
    return !gone.said.empty() && gone.said.back() == "at last";
  }));
  CHECK(open.has({"before", "after 0", "after 1", "after 2", "at last"}));
}

TEST_CASE("journal: a long message is cut", "[.systemd]") {
  const Talker talker;
  Reading reading("");
  talker.say("say " + std::string(1000, 'x') + "\\n");
  CHECK(reading.has({std::string(96, 'x')}));
}

TEST_CASE("journal: there is none") {
  CHECK(JournalReader::open({}, "", JournalFrom::kEnd, "/nowhere").error().code() ==
        Errc::kUnavailable);
}

// What experiments have come to, and what is proposed, as findings.
#include "agent/tunings.hpp"

#include <catch2/catch.hpp>

#include "nexus/base/id.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/unit_privileged.hpp"
#include "nexus/execute/undone.hpp"
#include "support/self_metrics.hpp"

using namespace nexus;
using namespace nexus::agent;
using namespace std::chrono_literals;

namespace {

class Nothing final : public knowledge::Queryable {
 public:
  std::vector<knowledge::SeriesId> select(std::span<const knowledge::Matcher>, std::int64_t,
                                          std::int64_t) const override {
    return {};
  }
  const knowledge::Labels& labels(knowledge::SeriesId) const override { return none_; }
  void read(knowledge::SeriesId, std::int64_t, std::int64_t, knowledge::Column&) const override {}

 private:
  knowledge::Labels none_;
};

struct World {
  World() {
    executor->configure(std::make_shared<const config::Config>());
    open();
  }
  void open() {
    tunings.reset();
    book = *analyze::Book::open(clock, *db, self);
    tunings = std::make_unique<Tunings>(clock, *book, *journal, *executor);
  }
  plan::Action action(std::string target, bool keep) {
    plan::Action out;
    clock.advance(1s);
    out.id = base::make_id(clock.wall());
    out.type = "performance_tuning";
    out.target = std::move(target);
    out.parameters = {{"value", "10"}};
    out.created = clock.wall();
    out.finished = clock.wall();
    out.state = keep ? plan::ActionState::kSucceeded : plan::ActionState::kUnverified;
    out.outcome.experiment = fmt::format(
        R"({{"metric":"latency","decision":"{}","why":"latency went from 12 to 8","median_before":12,"median_after":8,"p_value":0.001,"effect":0.9}})",
        keep ? "keep" : "undo");
    if (!keep) out.outcome.undone = "undone: vm.swappiness is 60 again";
    return out;
  }
  void end(const plan::Action& ended) {
    REQUIRE(journal->write(ended));
    tunings->note(ended);
  }
  const analyze::Finding* look(std::string_view name, Millis after = Tunings::kEvery) {
    clock.advance(after);
    tunings->look();
    book->tick();
    latest = book->snapshot();
    for (const auto& one : *latest) {
      if (one.name == name && one.state == analyze::FindingState::kFiring) return &one;
    }
    return nullptr;
  }

  base::ManualClock clock;
  knowledge::SelfMetrics self;
  std::unique_ptr<knowledge::StateDb> db = *knowledge::StateDb::open(":memory:");
  std::unique_ptr<execute::Journal> journal = *execute::Journal::open(clock, *db);
  Nothing data;
  drivers::UnitPrivileged privileged{clock};
  std::unique_ptr<execute::Executor> executor =
      std::make_unique<execute::Executor>(clock, *journal, data, self, nullptr, privileged);
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<Tunings> tunings;
  std::shared_ptr<const analyze::Findings> latest;
};

}  // namespace

TEST_CASE("an experiment's result is a finding for a day, over a restart, and until it is undone") {
  World world;
  auto kept = world.action("vm.swappiness", true);
  world.end(kept);
  world.end(world.action("vm.dirty_ratio", false));
  const auto* one = world.look("tuning_kept");
  REQUIRE(one != nullptr);
  CHECK(one->kind == analyze::FindingKind::kOptimization);
  CHECK(one->severity == config::Severity::kInfo);
  CHECK(one->subject == "vm.swappiness");
  CHECK(one->evidence.source == "latency");
  CHECK(one->evidence.value == 8);
  CHECK(one->annotations.at("before") == "12");
  CHECK(one->annotations.at("p_value") == "0.001");
  CHECK(one->evidence.text ==
        "performance_tuning vm.swappiness (value 10) was kept: latency went from 12 to 8");
  REQUIRE(world.look("tuning_undone") != nullptr);
  CHECK(world.look("tuning_undone")->evidence.text.contains("is 60 again"));
  world.open();
  CHECK(world.look("tuning_kept") != nullptr);
  SECTION("a day later it is over") {
    world.clock.advance(Tunings::kTold);
    CHECK(world.look("tuning_kept") == nullptr);
    CHECK(world.look("tuning_undone") == nullptr);
  }
  SECTION("rolled back") {
    kept.outcome.undone = "undone: vm.swappiness is 60 again";
    REQUIRE(world.journal->write(kept));
    plan::Action undo;
    undo.type = "undo_action";
    undo.parameters = {{"action", kept.id}};
    world.tunings->note(undo);
    CHECK(world.look("tuning_kept") == nullptr);
    CHECK(world.look("tuning_undone") != nullptr);
  }
  SECTION("not rolled back: it is in force") {
    kept.outcome.undone = std::string(execute::kNotUndone) + "read-only";
    REQUIRE(world.journal->write(kept));
    plan::Action undo;
    undo.type = "undo_action";
    undo.parameters = {{"action", kept.id}};
    world.tunings->note(undo);
    CHECK(world.look("tuning_kept") != nullptr);
  }
  SECTION("the last to end counts, whenever it was asked for, and over a restart") {
    auto late = world.action("vm.dirty_ratio", true);
    auto asked_earlier = late.created - 1h;
    late.created = asked_earlier;
    late.id = base::make_id(asked_earlier);
    auto first = world.action("vm.dirty_ratio", false);
    first.finished = *late.finished - 1s;
    world.end(late);  // so that the journal has them in the other order
    REQUIRE(world.journal->write(first));
    world.open();
    REQUIRE(world.look("tuning_kept") != nullptr);
    CHECK(world.look("tuning_undone") == nullptr);
  }
  SECTION("what is over at a start is told to be at the first look") {
    auto undone = kept;
    undone.outcome.undone = "undone: vm.swappiness is 60 again";
    world.book->tick();
    REQUIRE(world.journal->write(undone));
    world.open();
    CHECK(world.look("tuning_kept", 1ms) == nullptr);
  }
  SECTION("tried again: the last one counts") {
    world.end(world.action("vm.swappiness", false));
    CHECK(world.look("tuning_kept") == nullptr);
  }
}

TEST_CASE("what could not be taken back is a warning") {
  World world;
  auto action = world.action("vm.swappiness", false);
  action.outcome.undone = std::string(execute::kNotUndone) + "read-only";
  world.end(action);
  REQUIRE(world.look("tuning_undone") != nullptr);
  CHECK(world.look("tuning_undone")->severity == config::Severity::kWarning);
}

TEST_CASE("a tuning that waits for approval is told as long as it waits") {
  World world;
  auto action = world.action("vm.swappiness", true);
  action.outcome = {};
  action.finished.reset();
  action.state = plan::ActionState::kProposed;
  action.cause = {"SlowDisk", "00ff", "the disk is slow", "system", world.clock.wall()};
  action.experiment = config::ExperimentConfig{.metric = {"latency", {}}};
  REQUIRE(world.executor->submit(action));
  const auto* one = world.look("tuning_proposed");
  REQUIRE(one != nullptr);
  CHECK(one->evidence.text.contains("because of SlowDisk: the disk is slow"));
  CHECK(one->evidence.text.contains("when latency is lower"));
  CHECK(one->evidence.text.contains("actions approve " + action.id));
  // Another of the same is another.
  auto second = action;
  second.id = base::make_id(world.clock.wall());
  second.parameters = {{"value", "20"}};
  REQUIRE(world.executor->submit(second));
  REQUIRE(world.look("tuning_proposed") != nullptr);
  CHECK(std::ranges::count(*world.latest, "tuning_proposed", &analyze::Finding::name) == 2);
  REQUIRE(world.executor->cancel(second.id, "test"));
  REQUIRE(world.executor->cancel(action.id, "test"));
  CHECK(world.look("tuning_proposed") == nullptr);
}

TEST_CASE("a journal that cannot be read ends nothing") {
  World world;
  world.end(world.action("vm.swappiness", true));
  REQUIRE(world.look("tuning_kept") != nullptr);
  world.book->tick();
  world.open();
  REQUIRE(world.db->execute("ALTER TABLE action RENAME TO away"));
  CHECK(world.look("tuning_kept") != nullptr);
  CHECK(world.look("tuning_kept", 120s) != nullptr);
  REQUIRE(world.db->execute("ALTER TABLE away RENAME TO action"));
  CHECK(world.look("tuning_kept") != nullptr);
  CHECK(world.look("tuning_kept")->seen_now);
}

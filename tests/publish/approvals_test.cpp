#include "nexus/publish/approvals.hpp"

#include <catch2/catch.hpp>

#include "nexus/config/load.hpp"
#include "nexus/publish/routing.hpp"
#include "publish/message.hpp"
#include "publish/receivers.hpp"

using namespace nexus;
using namespace nexus::publish;
using namespace std::chrono_literals;

TEST_CASE(
    "a link is good for one answer, until it expires, over restarts, and of this agent only") {
  base::ManualClock clock;
  const auto db = *knowledge::StateDb::open(":memory:");
  auto approvals = *Approvals::open(clock, *db);
  const auto token = approvals->token({"id-1", "mail", clock.wall() + 1h});
  CHECK(approvals->look(token)->action == "id-1");
  CHECK(approvals->look(token)->receiver == "mail");
  for (std::size_t i = 0; i < token.size(); ++i) {
    auto other = token;
    other[i] = other[i] == 'a' ? 'b' : 'a';
    CHECK(approvals->look(other).error().code() == Errc::kNotFound);
  }
  for (const auto* text : {"", "~", "~~~", "a~b~c~d"})
    CHECK(approvals->redeem(text).error().code() == Errc::kNotFound);
  approvals = *Approvals::open(clock, *db);
  REQUIRE(approvals->redeem(token));
  CHECK(approvals->redeem(token).error().code() == Errc::kConflict);
  CHECK(approvals->look(token).error().code() == Errc::kConflict);
  const auto other = approvals->token({"id-2", "mail", clock.wall() + 1h});
  const auto stranger = *knowledge::StateDb::open(":memory:");
  CHECK((*Approvals::open(clock, *stranger))->look(other).error().code() == Errc::kNotFound);
  clock.advance(1h);
  CHECK(approvals->redeem(other).error().code() == Errc::kTimeout);
}

namespace {

std::string key_of(std::string_view toml, std::string_view team) {
  auto loaded = config::load_text(toml, "test");
  for (const auto& problem : loaded.problems) FAIL(config::to_string(problem));
  std::vector<config::Problem> problems;
  const auto routing = Routing::compile(loaded.config, problems);
  return routing->match({{"team", std::string(team)}}).front()->key;
}

}  // namespace

TEST_CASE("a route keeps its key when another is put in front of it") {
  constexpr std::string_view kOne = "[[route]]\nmatch = ['team=\"db\"']\n";
  const auto before = key_of(kOne, "db");
  CHECK(key_of("[[route]]\nmatch = ['team=\"web\"']\n" + std::string(kOne), "db") == before);
  CHECK(key_of(std::string(kOne) + "[routing]\ncritical = ['log']\n", "db") == before);
}

TEST_CASE("templates of a receiver, and what people are told at three in the morning") {
  base::ManualClock clock;
  auto alert = std::make_shared<Alert>();
  alert->labels = {{"alertname", "disk"}, {"device", "sda"}};
  alert->value = 96;
  alert->source = "disk";
  alert->trend = "rising in 60 min";
  alert->cause = "db failed";
  alert->changes = {"a package"};
  alert->deeds = {{"cleanup_disk /var: proposed", "id-1", true, false, clock.wall() + 1h}};
  Notification notification;
  notification.alerts = {alert};
  complete(notification);
  config::ReceiverConfig config;
  config.approval_links = true;
  ReceiverContext context{clock, {{}, "https://x", "web1"}, nullptr};
  context.approval_link = [](const Deed& deed) { return "https://x/approve/" + deed.action; };
  const auto text = to_text(Wording(config, context).message(notification));
  for (const auto* part :
       {"value: 96; rising in 60 min", "explained by: db failed", "changed before: a package",
        "agent: cleanup_disk /var: proposed", "nexus-agent actions approve id-1",
        "https://x/approve/id-1", "nexus-agent silence add"})
    CHECK_THAT(text, Catch::Contains(part));
  config.title = "{{ $labels.device }} is full";
  config.text = "{{ $labels.device }} is at {{ $value }} %";
  const auto own = Wording(config, context).message(notification);
  CHECK(own.title == "[FIRING:1] sda is full");
  CHECK(own.alerts.front().facts.front() == "sda is at 96 %");
}

TEST_CASE("Markdown makes nothing of a text, and links stay links") {
  CHECK(plain_markdown("a_b *c* [x](y) #d") == "a\\_b \\*c\\* \\[x\\]\\(y\\) \\#d");
  CHECK(plain_markdown("at https://x/a_b~c#d e_f") == "at https://x/a_b~c#d e\\_f");
  CHECK(plain_markdown("https://x[me](http://evil)") == "https://x\\[me\\]\\(http://evil\\)");
}

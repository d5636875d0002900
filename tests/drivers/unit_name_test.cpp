#include <catch2/catch.hpp>

#include "nexus/drivers/systemd.hpp"

using namespace nexus;
using drivers::normalize_unit_name;

TEST_CASE("a unit name without a type is a service") {
  CHECK(normalize_unit_name("web").value() == "web.service");
  CHECK(normalize_unit_name("web.service").value() == "web.service");
  CHECK(normalize_unit_name("backup.timer").value() == "backup.timer");
  CHECK(normalize_unit_name("web.conf").value() == "web.conf.service");
  CHECK(normalize_unit_name("getty@tty1").value() == "getty@tty1.service");
  CHECK(normalize_unit_name("srv-data\\x2dset.mount").value() == "srv-data\\x2dset.mount");
  CHECK(normalize_unit_name("proc-sys-fs-binfmt_misc.automount").value() ==
        "proc-sys-fs-binfmt_misc.automount");
}

TEST_CASE("what cannot be a unit name is refused with the name and the reason") {
  const std::string bad =
      GENERATE(as<std::string>{}, "", ".service", "@x.service", "@", "web.service\n", "a b", "../x",
               "/etc/passwd", "caf\xC3\xA9", "getty@.service", "getty@", "a;b", "a*", "a$(id)");
  const auto refused = normalize_unit_name(bad);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::kInvalidArgument);
  CHECK_THAT(refused.error().message(), Catch::Contains("\"" + bad + "\""));
  CHECK_FALSE(normalize_unit_name(std::string("a\0b", 3)));
}

TEST_CASE("a unit name has 255 bytes at most, its type included") {
  CHECK(normalize_unit_name(std::string(247, 'a')));
  CHECK_FALSE(normalize_unit_name(std::string(248, 'a')));
}

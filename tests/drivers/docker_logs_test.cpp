// What a container has written, without the frames that it comes in. A real engine's: tests/agent.
#include "nexus/drivers/docker_logs.hpp"

#include <catch2/catch.hpp>

using namespace nexus::drivers;
using namespace std::string_literals;

TEST_CASE("logs of containers come in frames, and of a terminal without") {
  const auto frame = [](char output, const std::string& text) {
    return output + "\0\0\0\0\0"s + static_cast<char>(text.size() >> 8U) +
           static_cast<char>(text.size() & 0xFFU) + text;
  };
  CHECK(without_frames(frame(1, "out\n") + frame(2, "err\n")) == "out\nerr\n");
  CHECK(without_frames(frame(1, std::string(300, 'x'))) == std::string(300, 'x'));
  CHECK(without_frames("of a terminal\n") == "of a terminal\n");
  CHECK(without_frames("").empty());
  // Cut off in the middle, or followed by what is no frame.
  CHECK(without_frames(frame(1, "whole\n").substr(0, 12)) == "whol");
  CHECK(without_frames(frame(1, "whole\n") + "rest") == "whole\n");
  CHECK(without_frames("\1\0\0\0\xff\xff\xff\xff"s).empty());
}

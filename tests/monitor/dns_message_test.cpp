// DNS messages: records of every known type, and messages that mean harm.
#include "monitor/probe/dns_message.hpp"

#include <catch2/catch.hpp>

using namespace nexus;
using namespace nexus::monitor;
using namespace std::string_literals;

namespace {

std::string header(std::uint16_t answers, const std::string& flags = "\x81\x80"s) {
  std::string out = "\x12\x34"s + flags + "\x00\x01"s;
  out += static_cast<char>(answers >> 8);
  out += static_cast<char>(answers & 0xff);
  return out + "\x00\x00\x00\x00"s +
         "\x01"s
         "a"s +
         "\x00\x00\x01\x00\x01"s;  // the question: a. A
}

std::string record(std::uint16_t type, const std::string& data) {
  std::string out = "\xc0\x0c"s;  // a.
  out += static_cast<char>(type >> 8);
  out += static_cast<char>(type & 0xff);
  out += "\x00\x01\x00\x00\x0e\x10"s;
  out += static_cast<char>(data.size() >> 8);
  out += static_cast<char>(data.size() & 0xff);
  return out + data;
}

}  // namespace

TEST_CASE("dns: a query, and answers of every type as zone files write them") {
  CHECK(dns_query(0x1234, "a.bc.", 1).value() ==
        "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01"s
        "a\x02"s
        "bc\x00\x00\x01\x00\x01"s);
  CHECK_FALSE(dns_query(1, std::string(64, 'x'), 1));
  CHECK_FALSE(dns_query(1, "a..b", 1));
  std::string longest;
  for (int i = 0; i < 50; ++i) longest += "abcdef.";
  CHECK_FALSE(dns_query(1, longest, 1));
  const auto text = [](std::uint16_t type, const std::string& data) {
    const auto answer = read_dns_answer(header(1) + record(type, data));
    return answer ? answer->records.at(0) : answer.error().message();
  };
  CHECK(text(1, "\xc0\x00\x02\x01"s) == "a.\t3600\tIN\tA\t192.0.2.1");
  CHECK(text(28, std::string(15, '\0') + "\x01"s) == "a.\t3600\tIN\tAAAA\t::1");
  CHECK(text(16, "\x03ok\"\x00\x02\xff\n"s) == "a.\t3600\tIN\tTXT\t\"ok\\\"\" \"\" \"\\255\\010\"");
  CHECK(text(15, "\x00\x0a\x01m\xc0\x0c"s) == "a.\t3600\tIN\tMX\t10 m.a.");
  CHECK(text(33, "\x00\x01\x00\x02\x00\x35\xc0\x0c"s) == "a.\t3600\tIN\tSRV\t1 2 53 a.");
  CHECK(text(5, "\x01x\x00"s) == "a.\t3600\tIN\tCNAME\tx.");
  CHECK(text(6, "\x00\x00"s + "\x00\x00\x00\x07"s + std::string(16, '\0')) ==
        "a.\t3600\tIN\tSOA\t. . 7 0 0 0 0");
  CHECK(text(999, "\x01\xab"s) == "a.\t3600\tIN\tTYPE999\t\\# 2 01AB");
  const auto gone = read_dns_answer(header(0, "\x81\x83"s));
  REQUIRE(gone);
  CHECK((dns_rcode(gone->rcode) == "NXDOMAIN" && gone->id == 0x1234 && gone->answers == 0));
}

TEST_CASE("dns: messages that lie are refused, and end") {
  const auto refused = [](const std::string& message) { return !read_dns_answer(message); };
  CHECK(refused(""));
  CHECK(refused(header(0).substr(0, 11)));
  CHECK(refused(header(0, "\x01\x00"s)));  // a query
  CHECK(refused(header(1)));               // no record
  CHECK(refused(header(1) + record(1, "\x01\x02\x03\x04").substr(0, 14)));
  CHECK(refused(
      "\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"s));  // itself
  CHECK(refused("\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\xc0\xff\x00\x01\x00\x01"s));
  CHECK(refused("\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x40\x00\x00\x01\x00\x01"s));
  // Names in the data that are none: the data as it is.
  CHECK(read_dns_answer(header(1) + record(15, "\x00\x01\xc0\xff"s))
            ->records.at(0)
            .ends_with("\\# 4 0001C0FF"));
  CHECK(read_dns_answer(header(1, "\x83\x80"s))->truncated);
  // A name of many pointers ends too.
  std::string chain = "\x12\x34\x81\x80\xff\xff\x00\x00\x00\x00\x00\x00"s;
  for (int i = 0; i < 3000; ++i) chain += "\xc0\x0c\x00\x01\x00\x01"s;
  CHECK(refused(chain));
}

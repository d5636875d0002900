// The dns probe: one query to one server over UDP or TCP.
#include <poll.h>

#include <algorithm>
#include <array>

#include "monitor/probe/dns_message.hpp"
#include "monitor/probe/probe.hpp"
#include "nexus/base/id.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {
namespace {

Result<DnsAnswer> read_for(std::string_view message, std::uint16_t id) {
  auto answer = read_dns_answer(message);
  if (answer && answer->id != id) return fail(Errc::kCorrupt, "the answer is to another question");
  return answer;
}

Result<DnsAnswer> ask_udp(const ProbeRun& run, const drivers::Address& server, std::uint16_t id,
                          const std::string& query) {
  const host::Fd fd(::socket(server.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::unexpected(Error::from_errno("socket"));
  // A connected socket takes datagrams of that server only.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&server.storage), server.size) != 0 ||
      ::send(fd.get(), query.data(), query.size(), 0) < 0)
    return std::unexpected(Error::from_errno("send the query"));
  std::array<char, 65536> buffer{};
  // What is no answer to this question (late, damaged or forged) does not keep the answer away.
  std::optional<Error> other;
  while (true) {
    if (Status ready = drivers::wait_for(run.clock, fd.get(), POLLIN, run.deadline); !ready)
      return std::unexpected(other.value_or(ready.error()));
    const ssize_t count = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EAGAIN) continue;
    if (count < 0) return std::unexpected(Error::from_errno("receive the answer"));
    auto answer = read_for({buffer.data(), static_cast<std::size_t>(count)}, id);
    if (answer) return answer;
    other = std::move(answer).error();
    if (run.clock.steady() >= run.deadline) return std::unexpected(*other);
  }
}

Result<DnsAnswer> ask_tcp(const ProbeRun& run, drivers::Stream& stream, std::uint16_t id,
                          const std::string& query) {
  std::string framed;
  framed += static_cast<char>(query.size() >> 8);
  framed += static_cast<char>(query.size() & 0xff);
  framed += query;
  if (Status sent = stream.send(framed, run.deadline); !sent) return std::unexpected(sent.error());
  auto size = stream.read_exactly(2, run.deadline);
  if (!size) return std::unexpected(size.error());
  const std::size_t length = static_cast<std::size_t>(static_cast<unsigned char>((*size)[0])) << 8 |
                             static_cast<unsigned char>((*size)[1]);
  auto message = stream.read_exactly(length, run.deadline);
  if (!message) return std::unexpected(message.error());
  return read_for(*message, id);
}

Status judge(const ProbeRun& run, const DnsAnswer& answer) {
  const auto& plan = run.plan;
  const auto rcode = dns_rcode(answer.rcode);
  if (std::ranges::find(plan.config.valid_rcodes, rcode) == plan.config.valid_rcodes.end())
    return fail(Errc::kUnavailable, "the server answered {}", rcode);
  for (const auto& regex : plan.answer_matches) {
    for (const auto& record : answer.records) {
      if (found_in(regex, record))
        return fail(Errc::kUnavailable, "an answer matches {}", regex->pattern());
    }
  }
  for (const auto& regex : plan.answer_not_matches) {
    for (const auto& record : answer.records) {
      if (!found_in(regex, record))
        return fail(Errc::kUnavailable, "an answer does not match {}", regex->pattern());
    }
  }
  return {};
}

struct Times {
  double resolve = 0;
  double connect = 0;
  double request = 0;
};

Result<DnsAnswer> ask(const ProbeRun& run, Times& times) {
  const auto& config = run.plan.config;
  auto parts = drivers::split_host_port(run.target, 53);
  if (!parts) return std::unexpected(parts.error());
  const auto type = dns_type(config.query_type);
  if (!type) return fail(Errc::kUnsupported, "query_type {}: not known", config.query_type);
  auto address = run.resolve(parts->host, &times.resolve);
  if (!address) return std::unexpected(address.error());
  address->set_port(parts->port);
  const auto id = static_cast<std::uint16_t>(base::parse_uint(base::random_hex(2), 16).value_or(1));
  const auto query = dns_query(id, config.query_name, *type);
  if (!query) return std::unexpected(query.error());
  const auto begin = run.clock.steady();
  if (config.transport != "tcp") {
    auto answer = ask_udp(run, *address, id, *query);
    times.request = run.seconds_since(begin);
    return answer;
  }
  auto stream = drivers::Stream::connect(run.clock, *address, run.deadline);
  if (!stream) return std::unexpected(stream.error());
  times.connect = run.seconds_since(begin);
  auto answer = ask_tcp(run, *stream, id, *query);
  times.request = run.seconds_since(begin) - times.connect;
  return answer;
}

}  // namespace

Status probe_dns(const ProbeRun& run) {
  Times times;
  auto answer = ask(run, times);
  constexpr std::string_view kPhases = "probe_dns_duration_seconds";
  run.sink.phase(kPhases, "resolve", times.resolve);
  run.sink.phase(kPhases, "connect", times.connect);
  run.sink.phase(kPhases, "request", times.request);
  const auto add = [&](std::string_view name, std::string_view help, double value) {
    run.sink.add(name, help, value);
  };
  add("probe_dns_query_succeeded", "Displays whether or not the query was executed successfully",
      answer ? 1 : 0);
  const DnsAnswer none;
  const DnsAnswer& got = answer ? *answer : none;
  add("probe_dns_answer_rrs", "Returns number of entries in the answer resource record list",
      got.answers);
  add("probe_dns_authority_rrs", "Returns number of entries in the authority resource record list",
      got.authorities);
  add("probe_dns_additional_rrs",
      "Returns number of entries in the additional resource record list", got.additionals);
  if (got.serial)
    add("probe_dns_serial", "Returns the serial number of the zone",
        static_cast<double>(*got.serial));
  if (!answer) return propagate(std::move(answer), "{}", run.plan.config.query_name);
  return judge(run, got);
}

}  // namespace nexus::monitor

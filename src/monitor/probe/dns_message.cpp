#include "monitor/probe/dns_message.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace nexus::monitor {
namespace {

constexpr std::size_t kHeader = 12;
constexpr std::size_t kLongestName = 255;
constexpr std::size_t kMostRecords = 1000;

constexpr std::array<std::pair<std::string_view, std::uint16_t>, 13> kTypes = {{
    {"A", 1},
    {"NS", 2},
    {"CNAME", 5},
    {"SOA", 6},
    {"PTR", 12},
    {"MX", 15},
    {"TXT", 16},
    {"AAAA", 28},
    {"SRV", 33},
    {"DS", 43},
    {"DNSKEY", 48},
    {"CAA", 257},
    {"ANY", 255},
}};

constexpr std::array<std::string_view, 11> kRcodes = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
                                                      "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
                                                      "NXRRSET", "NOTAUTH", "NOTZONE"};

std::uint16_t number16(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[at]) << 8 |
                                    static_cast<unsigned char>(bytes[at + 1]));
}
std::uint32_t number32(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint32_t>(number16(bytes, at)) << 16 | number16(bytes, at + 2);
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\{:03}", byte);
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
}

class Reader {
 public:
  explicit Reader(std::string_view message) : message_(message) {}

  [[nodiscard]] bool has(std::size_t count) const { return at + count <= message_.size(); }
  /// A name, with compression; pointers only lead back, so that they end.
  std::optional<std::string> name() {
    std::string out;
    std::size_t place = at;
    std::size_t before = at;  // a pointer has to lead before this
    bool jumped = false;
    while (place < message_.size()) {
      const auto length = static_cast<unsigned char>(message_[place]);
      if (length >= 0xc0) {
        if (place + 2 > message_.size()) return std::nullopt;
        const std::size_t target = number16(message_, place) & 0x3fffU;
        if (target >= before) return std::nullopt;
        if (!jumped) at = place + 2;
        jumped = true;
        place = before = target;
        continue;
      }
      if (length > 63 || place + 1 + length > message_.size()) return std::nullopt;
      if (length == 0) {
        if (!jumped) at = place + 1;
        return out.empty() ? "." : out;
      }
      append_escaped(out, message_.substr(place + 1, length));
      out += '.';
      if (out.size() > kLongestName * 4) return std::nullopt;
      place += 1 + length;
    }
    return std::nullopt;
  }
  std::uint16_t word() {
    at += 2;
    return number16(message_, at - 2);
  }
  std::uint32_t wide() {
    at += 4;
    return number32(message_, at - 4);
  }
  [[nodiscard]] std::string_view rest(std::size_t count) const {
    return message_.substr(at, count);
  }

  std::size_t at = kHeader;

 private:
  std::string_view message_;
};

std::string texts(std::string_view data) {
  std::string out;
  while (!data.empty()) {
    const std::size_t length = static_cast<unsigned char>(data[0]);
    if (!out.empty()) out += ' ';
    out += '"';
    append_escaped(out, data.substr(1, length));
    out += '"';
    data.remove_prefix(std::min(data.size(), length + 1));
  }
  return out;
}

/// The data of a record as text; what is not known as RFC 3597 writes it.
std::string data_text(Reader reader, std::uint16_t type, std::size_t length, DnsAnswer& answer) {
  const auto data = reader.rest(length);
  const auto end = reader.at + length;
  char address[INET6_ADDRSTRLEN] = {};
  if (type == 1 && length == 4) return inet_ntop(AF_INET, data.data(), address, sizeof address);
  if (type == 28 && length == 16) return inet_ntop(AF_INET6, data.data(), address, sizeof address);
  if (type == 16) return texts(data);
  if (type == 2 || type == 5 || type == 12) {
    if (auto name = reader.name(); name && reader.at <= end) return *name;
  }
  if (type == 15 && length > 2) {
    const auto preference = reader.word();
    if (auto name = reader.name(); name && reader.at <= end)
      return fmt::format("{} {}", preference, *name);
  }
  if (type == 33 && length > 6) {
    const auto priority = reader.word();
    const auto weight = reader.word();
    const auto port = reader.word();
    if (auto name = reader.name(); name && reader.at <= end)
      return fmt::format("{} {} {} {}", priority, weight, port, *name);
  }
  if (type == 6) {
    const auto server = reader.name();
    const auto mailbox = server ? reader.name() : std::nullopt;
    if (mailbox && reader.at + 20 == end) {
      answer.serial = reader.wide();
      std::string out = fmt::format("{} {} {}", *server, *mailbox, *answer.serial);
      for (int i = 0; i < 4; ++i) out += fmt::format(" {}", reader.wide());
      return out;
    }
  }
  std::string out = fmt::format("\\# {} ", length);
  for (const char c : data) out += fmt::format("{:02X}", static_cast<unsigned char>(c));
  return out;
}

std::string type_name(std::uint16_t type) {
  const auto found = std::ranges::find(kTypes, type, &decltype(kTypes)::value_type::second);
  return found == kTypes.end() ? fmt::format("TYPE{}", type) : std::string(found->first);
}

std::unexpected<Error> damaged() {
  return fail(Errc::kCorrupt, "the answer is no whole DNS message");
}

}  // namespace

std::optional<std::uint16_t> dns_type(std::string_view name) {
  const auto found = std::ranges::find(kTypes, name, &decltype(kTypes)::value_type::first);
  return found == kTypes.end() ? std::nullopt : std::optional(found->second);
}

std::string dns_rcode(unsigned code) {
  return code < kRcodes.size() ? std::string(kRcodes.at(code)) : fmt::format("RCODE{}", code);
}

Result<std::string> dns_query(std::uint16_t id, std::string_view name, std::uint16_t type) {
  std::string out;
  const auto word = [&](unsigned value) {
    out += static_cast<char>(value >> 8);
    out += static_cast<char>(value & 0xff);
  };
  word(id);
  word(0x0100);  // recursion is desired
  word(1);
  word(0);
  word(0);
  word(0);
  while (name.ends_with('.')) name.remove_suffix(1);
  while (!name.empty()) {
    const auto label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > 63)
      return fail(Errc::kInvalidArgument, "query_name: expected labels of 1 to 63 characters");
    out += static_cast<char>(label.size());
    out += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  if (out.size() > kHeader + kLongestName - 1)
    return fail(Errc::kInvalidArgument, "query_name: expected at most 255 characters");
  out += '\0';
  word(type);
  word(1);  // IN
  return out;
}

Result<DnsAnswer> read_dns_answer(std::string_view message) {
  if (message.size() < kHeader) return damaged();
  DnsAnswer out;
  out.id = number16(message, 0);
  const auto flags = number16(message, 2);
  if ((flags & 0x8000U) == 0) return fail(Errc::kCorrupt, "this is a query and no answer");
  out.rcode = flags & 0xfU;
  out.truncated = (flags & 0x0200U) != 0;
  const auto questions = number16(message, 4);
  out.answers = number16(message, 6);
  out.authorities = number16(message, 8);
  out.additionals = number16(message, 10);
  Reader reader(message);
  for (unsigned i = 0; i < questions; ++i) {
    if (!reader.name() || !reader.has(4)) return damaged();
    reader.at += 4;
  }
  for (std::size_t i = 0; i < out.answers && i < kMostRecords; ++i) {
    const auto name = reader.name();
    if (!name || !reader.has(10)) {
      if (out.truncated) break;
      return damaged();
    }
    const auto type = reader.word();
    reader.at += 2;  // class
    const auto ttl = reader.wide();
    const std::size_t length = reader.word();
    if (!reader.has(length)) return damaged();
    out.records.push_back(fmt::format("{}\t{}\tIN\t{}\t{}", *name, ttl, type_name(type),
                                      data_text(reader, type, length, out)));
    reader.at += length;
  }
  return out;
}

}  // namespace nexus::monitor

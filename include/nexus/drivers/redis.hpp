// Redis: one connection to a Redis or Valkey server, never waited for beyond a deadline. hiredis
// writes and reads the protocol; the socket is this driver's, so that a deadline is one for the
// whole command and not one for each read.
//
// Invariants: (1) at most one connection and one command at a time; (2) every call returns by its
// deadline: what is late is answered with kTimeout and the connection is closed; (3) a reply is
// never larger than `max_reply` bytes: kExhausted, and the connection is closed. A connection is
// made by the first command (AUTH, SELECT and CLIENT SETNAME with it) and again by the first one
// after it was lost. Only resolving a host name may take longer than the deadline.
//
// Errors name the server, never an argument: kUnavailable (no connection, lost, loading),
// kPermissionDenied (password, access control list), kTimeout, kExhausted (too many clients, out of
// memory, too large a reply), kUnsupported (unknown command), kConflict (read-only replica),
// kCorrupt (no Redis), kInvalidArgument (other refusals). Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/connections.hpp"

namespace nexus::drivers {

struct RedisReply {
  enum class Type { kNil, kInteger, kText, kArray };
  Type type = Type::kNil;
  std::int64_t integer = 0;
  std::string text;  // bytes
  std::vector<RedisReply> elements;
};

class Redis {
 public:
  Redis(Clock& clock, config::RedisSection target, std::size_t max_reply = 8U << 20);
  ~Redis();
  Redis(const Redis&) = delete;
  Redis& operator=(const Redis&) = delete;

  /// Nothing when there is a connection that is not known to be lost.
  [[nodiscard]] Status connect(SteadyTime deadline);
  /// The command and its arguments. An error reply is an Error, also within an array.
  [[nodiscard]] Result<RedisReply> command(std::span<const std::string> words, SteadyTime deadline);
  [[nodiscard]] Result<RedisReply> command(std::initializer_list<std::string> words,
                                           SteadyTime deadline) {
    return command(std::span(words.begin(), words.size()), deadline);
  }
  void close() noexcept;
  [[nodiscard]] bool connected() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::drivers

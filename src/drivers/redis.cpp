#include "nexus/drivers/redis.hpp"

#include <fmt/format.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "drivers/socket_wait.hpp"
#include "drivers/stream_socket.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kReadAtOnce = 16U << 10;
constexpr std::size_t kShownMessage = 200;

struct FreeReader {
  void operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }
};
struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};

/// By the first word of an error reply.
Errc classify(std::string_view message) {
  struct Word {
    std::string_view prefix;
    Errc code;
  };
  static constexpr std::array kWords = {
      Word{"NOAUTH", Errc::kPermissionDenied},
      Word{"WRONGPASS", Errc::kPermissionDenied},
      Word{"NOPERM", Errc::kPermissionDenied},
      Word{"DENIED", Errc::kPermissionDenied},
      Word{"ERR invalid password", Errc::kPermissionDenied},
      Word{"ERR AUTH", Errc::kPermissionDenied},
      Word{"ERR Client sent AUTH", Errc::kPermissionDenied},
      Word{"ERR max number of clients", Errc::kExhausted},
      Word{"OOM", Errc::kExhausted},
      Word{"LOADING", Errc::kUnavailable},
      Word{"MASTERDOWN", Errc::kUnavailable},
      Word{"CLUSTERDOWN", Errc::kUnavailable},
      Word{"BUSY", Errc::kUnavailable},
      Word{"READONLY", Errc::kConflict},
      Word{"MISCONF", Errc::kConflict},
      Word{"ERR unknown", Errc::kUnsupported},
      Word{"MOVED", Errc::kUnsupported},
      Word{"ASK", Errc::kUnsupported},
  };
  for (const auto& word : kWords) {
    if (message.starts_with(word.prefix)) return word.code;
  }
  return Errc::kInvalidArgument;
}

Result<RedisReply> convert(const redisReply& raw) {
  RedisReply out;
  switch (raw.type) {
    case REDIS_REPLY_NIL:
      return out;
    case REDIS_REPLY_INTEGER:
      out.type = RedisReply::Type::kInteger;
      out.integer = raw.integer;
      return out;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      out.type = RedisReply::Type::kText;
      out.text.assign(raw.str, static_cast<std::size_t>(raw.len));
      return out;
    case REDIS_REPLY_ARRAY:
      out.type = RedisReply::Type::kArray;
      for (std::size_t i = 0; i < raw.elements; ++i) {
        auto element = convert(*raw.element[i]);
        if (!element) return element;
        out.elements.push_back(*std::move(element));
      }
      return out;
    case REDIS_REPLY_ERROR: {
      std::string message(raw.str, static_cast<std::size_t>(raw.len));
      // It may repeat what was sent, up to whole arguments: the code and the beginning suffice.
      if (message.size() > kShownMessage) message.resize(kShownMessage);
      return fail(classify(message), "{}", base::sanitize_utf8(message));
    }
    default:
      return fail(Errc::kCorrupt, "a reply of unknown type {}", raw.type);
  }
}

}  // namespace

struct Redis::Impl {
  Impl(Clock& the_clock, config::RedisSection the_target, std::size_t the_max_reply)
      : clock(the_clock), target(std::move(the_target)), max_reply(the_max_reply) {}

  [[nodiscard]] std::string name() const {
    return target.host.starts_with('/') ? fmt::format("Redis at {}", target.host)
                                        : fmt::format("Redis at {}:{}", target.host, target.port);
  }
  [[nodiscard]] Status greet(SteadyTime deadline);
  [[nodiscard]] Status send(std::span<const std::string> words, SteadyTime deadline) const;
  [[nodiscard]] Result<RedisReply> receive(SteadyTime deadline) const;
  /// `lost` is set when the connection is of no use any more.
  [[nodiscard]] Result<RedisReply> run(std::span<const std::string> words, SteadyTime deadline,
                                       bool& lost) const;

  Clock& clock;
  const config::RedisSection target;
  const std::size_t max_reply;
  host::Fd socket;
  std::unique_ptr<redisReader, FreeReader> reader;
};

Redis::Redis(Clock& clock, config::RedisSection target, std::size_t max_reply)
    : impl_(std::make_unique<Impl>(clock, std::move(target), max_reply)) {}
Redis::~Redis() = default;

bool Redis::connected() const noexcept {
  return static_cast<bool>(impl_->socket);
}
void Redis::close() noexcept {
  impl_->socket.reset();
  impl_->reader.reset();
}

Status Redis::connect(SteadyTime deadline) {
  if (connected()) return {};
  auto socket = connect_stream(impl_->clock, impl_->target.host, impl_->target.port, deadline);
  if (!socket) return propagate(std::move(socket), "{}", impl_->name());
  impl_->socket = *std::move(socket);
  impl_->reader.reset(redisReaderCreate());
  if (impl_->reader == nullptr) return fail(Errc::kExhausted, "{}: no memory", impl_->name());
  if (auto greeted = impl_->greet(deadline); !greeted) {
    close();
    return propagate(std::move(greeted), "{}", impl_->name());
  }
  return {};
}

Status Redis::Impl::greet(SteadyTime deadline) {
  bool lost = false;
  if (!target.password.empty()) {
    std::vector<std::string> words = {"AUTH"};
    if (!target.user.empty()) words.push_back(target.user);
    words.push_back(target.password.reveal());
    if (auto reply = run(words, deadline, lost); !reply) return propagate(std::move(reply), "AUTH");
  }
  if (target.database != 0) {
    const std::array<std::string, 2> words = {"SELECT", std::to_string(target.database)};
    if (auto reply = run(words, deadline, lost); !reply)
      return propagate(std::move(reply), "SELECT");
  }
  // A courtesy to who looks at CLIENT LIST; an access control list may forbid it.
  const std::array<std::string, 3> words = {"CLIENT", "SETNAME", "nexus-agent"};
  if (auto reply = run(words, deadline, lost); !reply && lost) return propagate(std::move(reply));
  return {};
}

Result<RedisReply> Redis::command(std::span<const std::string> words, SteadyTime deadline) {
  if (words.empty()) return fail(Errc::kInvalidArgument, "no command");
  if (auto ready = connect(deadline); !ready) return propagate(std::move(ready));
  bool lost = false;
  auto reply = impl_->run(words, deadline, lost);
  if (lost) close();
  if (!reply) return propagate(std::move(reply), "{}: {}", impl_->name(), words[0]);
  return reply;
}

Result<RedisReply> Redis::Impl::run(std::span<const std::string> words, SteadyTime deadline,
                                    bool& lost) const {
  lost = true;
  if (auto sent = send(words, deadline); !sent) return propagate(std::move(sent));
  auto reply = receive(deadline);
  // Any answer of the server itself, also an error, leaves the connection as it was.
  lost = !reply && reply.error().code() != Errc::kInvalidArgument &&
         reply.error().code() != Errc::kPermissionDenied &&
         reply.error().code() != Errc::kUnsupported && reply.error().code() != Errc::kConflict;
  return reply;
}

Status Redis::Impl::send(std::span<const std::string> words, SteadyTime deadline) const {
  std::vector<const char*> arguments;
  std::vector<std::size_t> sizes;
  for (const auto& word : words) {
    arguments.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* formatted = nullptr;
  const int size = redisFormatCommandArgv(&formatted, static_cast<int>(arguments.size()),
                                          arguments.data(), sizes.data());
  if (size < 0) return fail(Errc::kExhausted, "no memory");
  const std::unique_ptr<char, decltype(&redisFreeCommand)> owner(formatted, redisFreeCommand);
  std::string_view rest(formatted, static_cast<std::size_t>(size));
  while (!rest.empty()) {
    const ssize_t sent = ::send(socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for_socket(clock, socket.get(), POLLOUT, deadline); !ready)
        return ready;
    } else if (errno != EINTR) {
      return fail(Errc::kUnavailable, "{}", Error::from_errno("send").message());
    }
  }
  return {};
}

Result<RedisReply> Redis::Impl::receive(SteadyTime deadline) const {
  std::array<char, kReadAtOnce> buffer;
  std::size_t total = 0;
  while (true) {
    void* raw = nullptr;
    if (redisReaderGetReply(reader.get(), &raw) != REDIS_OK)
      return fail(Errc::kCorrupt, "not the protocol of Redis: {}",
                  base::sanitize_utf8(reader->errstr));
    if (raw != nullptr) {
      const std::unique_ptr<redisReply, FreeReply> reply(static_cast<redisReply*>(raw));
      return convert(*reply);
    }
    if (auto ready = wait_for_socket(clock, socket.get(), POLLIN, deadline); !ready)
      return propagate(std::move(ready));
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got == 0) return fail(Errc::kUnavailable, "the server closed the connection");
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) continue;
      return fail(Errc::kUnavailable, "{}", Error::from_errno("receive").message());
    }
    total += static_cast<std::size_t>(got);
    if (total > max_reply)
      return fail(Errc::kExhausted, "a reply of more than {} bytes", max_reply);
    redisReaderFeed(reader.get(), buffer.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace nexus::drivers

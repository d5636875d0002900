// Stream: a connected socket (TCP or unix) on which every step has a deadline, with TLS when asked.
//
// Errors: kUnavailable (refused, closed), kTimeout, kInvalidArgument (path, unreadable
// certificate). Thread safety: one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/drivers/fetcher.hpp"
#include "nexus/drivers/resolver.hpp"

namespace nexus::drivers {

class Stream {
 public:
  [[nodiscard]] static Result<Stream> connect(Clock& clock, const Address& address,
                                              SteadyTime deadline);
  [[nodiscard]] static Result<Stream> connect_unix(Clock& clock, const std::string& path,
                                                   SteadyTime deadline);
  Stream(Stream&&) noexcept;
  ~Stream();

  /// The handshake; `name` is what the certificate has to be for.
  [[nodiscard]] Result<TlsFacts> start_tls(const TlsOptions& options, const std::string& name,
                                           SteadyTime deadline);
  [[nodiscard]] Status send(std::string_view bytes, SteadyTime deadline);
  /// The next line without its end, at most `limit` bytes of it.
  [[nodiscard]] Result<std::string> read_line(std::size_t limit, SteadyTime deadline);
  /// Exactly that many bytes.
  [[nodiscard]] Result<std::string> read_exactly(std::size_t count, SteadyTime deadline);

 private:
  struct Impl;
  explicit Stream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Waits until `fd` is ready for `events` (poll(2)), or fails with kTimeout.
[[nodiscard]] Status wait_for(Clock& clock, int fd, short events, SteadyTime deadline);

}  // namespace nexus::drivers

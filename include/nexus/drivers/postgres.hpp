// Postgres: one connection to a PostgreSQL server over libpq, never waited for beyond a deadline.
//
// Invariants: (1) at most one connection and one query at a time; (2) every call returns by its
// deadline, whatever the server does: what is late is answered with kTimeout and the connection is
// closed, for its state is unknown; (3) a result is never larger than its limits: kExhausted. A
// connection is made by the first query and again by the first one after it was lost; who calls
// decides how often. Only resolving a host name may take longer than the deadline (libpq asks the
// resolver in a blocking way); addresses and socket directories do not.
//
// Errors name the server, never the password: kUnavailable (no connection, lost, shutting down),
// kPermissionDenied (password, role, privilege), kTimeout (deadline, statement_timeout,
// lock_timeout), kExhausted (too many connections, limits), kNotFound (database, relation, column,
// function), kInvalidArgument (other mistakes in a statement), kConflict (serialisation, deadlock,
// constraints). Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/connections.hpp"

namespace nexus::drivers {

struct PostgresLimits {
  std::size_t rows = 10'000;
  std::size_t bytes = 8U << 20;
};

/// Rows as text, as the server writes it; NULL is nullopt.
class PostgresResult {
 public:
  using Value = std::optional<std::string>;

  [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return columns_; }
  [[nodiscard]] std::size_t rows() const noexcept {
    return columns_.empty() ? 0 : values_.size() / columns_.size();
  }
  [[nodiscard]] const Value& at(std::size_t row, std::size_t column) const {
    return values_[row * columns_.size() + column];
  }
  [[nodiscard]] std::optional<std::size_t> column(std::string_view name) const;
  /// Rows that a statement changed, where it says so.
  [[nodiscard]] std::uint64_t changed() const noexcept { return changed_; }

 private:
  friend class Postgres;
  std::vector<std::string> columns_;
  std::vector<Value> values_;  // row by row
  std::uint64_t changed_ = 0;
};

class Postgres {
 public:
  using Settings = std::vector<std::pair<std::string, std::string>>;

  /// `settings` are set for each new connection: {"statement_timeout", "2000"}, ...
  Postgres(Clock& clock, config::PostgresSection target, Settings settings = {});
  ~Postgres();
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  /// Nothing when there is a connection that is not known to be lost.
  [[nodiscard]] Status connect(SteadyTime deadline);
  /// One statement with $1, $2, ... for `parameters`, outside of a transaction block.
  [[nodiscard]] Result<PostgresResult> query(const std::string& sql, SteadyTime deadline,
                                             std::span<const PostgresResult::Value> parameters = {},
                                             PostgresLimits limits = {});
  void close() noexcept;

  [[nodiscard]] bool connected() const noexcept;
  /// 150004 for 15.4; 0 without a connection.
  [[nodiscard]] int server_version() const noexcept;
  /// How many connections were made so far.
  [[nodiscard]] std::uint64_t connections() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::drivers

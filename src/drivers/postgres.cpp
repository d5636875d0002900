#include "nexus/drivers/postgres.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>

#include "drivers/socket_wait.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kShownStatement = 60;
constexpr std::size_t kShownMessage = 500;

struct Finish {
  void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
struct Clear {
  void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, Finish>;
using RawResult = std::unique_ptr<PGresult, Clear>;

/// libpq's messages have several lines and end with one.
std::string one_line(const char* message) {
  std::string out;
  for (std::string_view rest = message == nullptr ? "" : message; !rest.empty();) {
    const auto line = base::trim(base::take_until(rest, '\n'));
    if (line.empty()) continue;
    if (!out.empty()) out += "; ";
    out += line;
  }
  if (out.size() > kShownMessage) out.resize(kShownMessage);
  return out.empty() ? "no reason given" : base::sanitize_utf8(out);
}

std::string shown(std::string_view sql) {
  std::string out;
  for (auto word = base::take_word(sql); !word.empty() && out.size() < kShownStatement;
       word = base::take_word(sql)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  if (out.size() > kShownStatement) out.resize(kShownStatement);
  return out;
}

/// By SQLSTATE: PostgreSQL's documentation, appendix A.
Errc classify(std::string_view state) {
  struct Class {
    std::string_view prefix;
    Errc code;
  };
  static constexpr std::array kClasses = {
      Class{"57014", Errc::kTimeout},  // query_canceled: statement_timeout
      Class{"55P03", Errc::kTimeout},  // lock_not_available: lock_timeout
      Class{"42501", Errc::kPermissionDenied},
      Class{"42P01", Errc::kNotFound},       // undefined_table
      Class{"42703", Errc::kNotFound},       // undefined_column
      Class{"42883", Errc::kNotFound},       // undefined_function
      Class{"42704", Errc::kNotFound},       // undefined_object
      Class{"28", Errc::kPermissionDenied},  // invalid authorization
      Class{"3D", Errc::kNotFound},          // no such database
      Class{"53", Errc::kExhausted},         // insufficient resources
      Class{"57", Errc::kUnavailable},       // operator intervention: shutting down, starting up
      Class{"08", Errc::kUnavailable},       // connection exceptions
      Class{"40", Errc::kConflict},          // serialisation, deadlock
      Class{"23", Errc::kConflict},          // constraints
      Class{"55", Errc::kConflict},          // object not in prerequisite state
      Class{"25", Errc::kConflict},          // invalid transaction state, read-only
      Class{"0A", Errc::kUnsupported},
      Class{"58", Errc::kIo},
      Class{"XX", Errc::kInternal},
  };
  for (const auto& one : kClasses) {
    if (state.starts_with(one.prefix)) return one.code;
  }
  return Errc::kInvalidArgument;
}

/// A connection that was refused has no SQLSTATE, only a message.
Errc classify_refusal(const PGconn* connection, std::string_view message) {
  if (PQconnectionNeedsPassword(connection) != 0 || message.contains("authentication failed") ||
      message.contains("no pg_hba.conf entry"))
    return Errc::kPermissionDenied;
  if (message.contains("too many clients") || message.contains("too many connections") ||
      message.contains("remaining connection slots"))
    return Errc::kExhausted;
  return Errc::kUnavailable;
}

void ignore_notice(void* /*user*/, const PGresult* /*notice*/) {}

}  // namespace

std::optional<std::size_t> PostgresResult::column(std::string_view name) const {
  const auto found = std::ranges::find(columns_, name);
  if (found == columns_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - columns_.begin());
}

struct Postgres::Impl {
  Impl(Clock& the_clock, config::PostgresSection the_target, Settings the_settings)
      : clock(the_clock), target(std::move(the_target)), settings(std::move(the_settings)) {}

  [[nodiscard]] std::string name() const {
    return target.host.starts_with('/')
               ? fmt::format("PostgreSQL at {}/.s.PGSQL.{}", target.host, target.port)
               : fmt::format("PostgreSQL at {}:{}", target.host, target.port);
  }

  [[nodiscard]] Status open(SteadyTime deadline);
  [[nodiscard]] Status shake_hands(SteadyTime deadline) const;
  [[nodiscard]] Status apply_settings(SteadyTime deadline);
  [[nodiscard]] Status send(const std::string& sql,
                            std::span<const PostgresResult::Value> parameters,
                            SteadyTime deadline) const;
  [[nodiscard]] Result<RawResult> next(SteadyTime deadline) const;
  [[nodiscard]] Result<PostgresResult> run(const std::string& sql,
                                           std::span<const PostgresResult::Value> parameters,
                                           SteadyTime deadline, PostgresLimits limits);
  [[nodiscard]] Error lost() const {
    return {Errc::kUnavailable, one_line(PQerrorMessage(connection.get()))};
  }

  Clock& clock;
  const config::PostgresSection target;
  const Settings settings;
  Connection connection;
  std::uint64_t made = 0;
};

Postgres::Postgres(Clock& clock, config::PostgresSection target, Settings settings)
    : impl_(std::make_unique<Impl>(clock, std::move(target), std::move(settings))) {}
Postgres::~Postgres() = default;

bool Postgres::connected() const noexcept {
  return impl_->connection != nullptr && PQstatus(impl_->connection.get()) == CONNECTION_OK;
}
int Postgres::server_version() const noexcept {
  return connected() ? PQserverVersion(impl_->connection.get()) : 0;
}
std::uint64_t Postgres::connections() const noexcept {
  return impl_->made;
}
void Postgres::close() noexcept {
  impl_->connection.reset();
}

Status Postgres::connect(SteadyTime deadline) {
  if (connected()) return {};
  auto opened = impl_->open(deadline);
  if (opened) opened = impl_->apply_settings(deadline);
  if (!opened) {
    close();
    return propagate(std::move(opened), "connect to {}", impl_->name());
  }
  return {};
}

Result<PostgresResult> Postgres::query(const std::string& sql, SteadyTime deadline,
                                       std::span<const PostgresResult::Value> parameters,
                                       PostgresLimits limits) {
  if (auto ready = connect(deadline); !ready) return propagate(std::move(ready));
  auto result = impl_->run(sql, parameters, deadline, limits);
  if (result) return result;
  // After an answer of the server itself the connection is as good as before.
  if (PQtransactionStatus(impl_->connection.get()) != PQTRANS_IDLE) close();
  return propagate(std::move(result), "{}: {}", impl_->name(), shown(sql));
}

Status Postgres::Impl::open(SteadyTime deadline) {
  const std::string port = std::to_string(target.port);
  std::vector<const char*> keys;
  std::vector<const char*> values;
  const auto give = [&](const char* key, const std::string& value) {
    if (value.empty()) return;
    keys.push_back(key);
    values.push_back(value.c_str());
  };
  static const std::string kName = "nexus-agent";
  static const std::string kUtf8 = "UTF8";
  static const std::string kDisable = "disable";  // its negotiation may block
  give("host", target.host);
  give("port", port);
  give("dbname", target.database);
  give("user", target.user);
  give("password", target.password.reveal());
  give("sslmode", target.tls);
  give("sslrootcert", target.ca_file);
  give("sslcert", target.cert_file);
  give("sslkey", target.key_file);
  give("application_name", kName);
  give("client_encoding", kUtf8);
  give("gssencmode", kDisable);
  keys.push_back(nullptr);
  values.push_back(nullptr);
  connection.reset(PQconnectStartParams(keys.data(), values.data(), 0));
  if (connection == nullptr) return fail(Errc::kExhausted, "no memory");
  PQsetNoticeReceiver(connection.get(), ignore_notice, nullptr);
  if (auto shaken = shake_hands(deadline); !shaken) return shaken;
  ++made;
  if (PQsetnonblocking(connection.get(), 1) != 0) return std::unexpected(lost());
  return {};
}

Status Postgres::Impl::shake_hands(SteadyTime deadline) const {
  if (PQstatus(connection.get()) == CONNECTION_BAD) return std::unexpected(lost());
  auto state = PGRES_POLLING_WRITING;
  while (state != PGRES_POLLING_OK) {
    if (state == PGRES_POLLING_FAILED) {
      std::string why = one_line(PQerrorMessage(connection.get()));
      return fail(classify_refusal(connection.get(), why), "{}", why);
    }
    const short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    auto ready = wait_for_socket(clock, PQsocket(connection.get()), events, deadline);
    if (!ready) return ready;
    state = PQconnectPoll(connection.get());
  }
  return {};
}

Status Postgres::Impl::apply_settings(SteadyTime deadline) {
  if (settings.empty()) return {};
  // Not as start-up options: a connection pooler in between refuses those.
  std::string sql = "SELECT ";
  std::vector<PostgresResult::Value> parameters;
  for (const auto& [name, value] : settings) {
    if (!parameters.empty()) sql += ", ";
    sql += fmt::format("pg_catalog.set_config(${}, ${}, false)", parameters.size() + 1,
                       parameters.size() + 2);
    parameters.emplace_back(name);
    parameters.emplace_back(value);
  }
  auto set = run(sql, parameters, deadline, {});
  if (!set) return propagate(std::move(set), "settings");
  return {};
}

Status Postgres::Impl::send(const std::string& sql,
                            std::span<const PostgresResult::Value> parameters,
                            SteadyTime deadline) const {
  std::vector<const char*> values;
  for (const auto& one : parameters) values.push_back(one ? one->c_str() : nullptr);
  if (PQsendQueryParams(connection.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                        values.data(), nullptr, nullptr, 0) == 0)
    return std::unexpected(lost());
  PQsetSingleRowMode(connection.get());
  while (true) {
    const int left = PQflush(connection.get());
    if (left == 0) return {};
    if (left < 0) return std::unexpected(lost());
    const int fd = PQsocket(connection.get());
    if (auto ready = wait_for_socket(clock, fd, POLLIN | POLLOUT, deadline); !ready) return ready;
    if (PQconsumeInput(connection.get()) == 0) return std::unexpected(lost());
  }
}

/// Null after the last one.
Result<RawResult> Postgres::Impl::next(SteadyTime deadline) const {
  while (PQisBusy(connection.get()) != 0) {
    const int fd = PQsocket(connection.get());
    if (auto ready = wait_for_socket(clock, fd, POLLIN, deadline); !ready)
      return propagate(std::move(ready));
    if (PQconsumeInput(connection.get()) == 0) return std::unexpected(lost());
  }
  return RawResult(PQgetResult(connection.get()));
}

Result<PostgresResult> Postgres::Impl::run(const std::string& sql,
                                           std::span<const PostgresResult::Value> parameters,
                                           SteadyTime deadline, PostgresLimits limits) {
  if (auto sent = send(sql, parameters, deadline); !sent) return propagate(std::move(sent));
  PostgresResult out;
  std::optional<Error> error;
  std::size_t bytes = 0;
  while (true) {
    auto part = next(deadline);
    if (!part) return propagate(std::move(part));
    const PGresult* raw = part->get();
    if (raw == nullptr) break;
    const ExecStatusType status = PQresultStatus(raw);
    if (status == PGRES_COMMAND_OK) {
      out.changed_ = base::parse_uint(PQcmdTuples(const_cast<PGresult*>(raw))).value_or(0);
      continue;
    }
    if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK) {
      const char* state = PQresultErrorField(raw, PG_DIAG_SQLSTATE);
      const char* message = PQresultErrorField(raw, PG_DIAG_MESSAGE_PRIMARY);
      if (state == nullptr) return std::unexpected(lost());  // libpq's own: the connection is gone
      error.emplace(classify(state), fmt::format("{} (SQLSTATE {})", one_line(message), state));
      continue;
    }
    const int columns = PQnfields(raw);
    if (out.columns_.empty()) {
      for (int i = 0; i < columns; ++i) out.columns_.emplace_back(PQfname(raw, i));
    }
    for (int row = 0; row < PQntuples(raw); ++row) {
      for (int i = 0; i < columns; ++i) {
        const bool null = PQgetisnull(raw, row, i) != 0;
        const auto size = static_cast<std::size_t>(PQgetlength(raw, row, i));
        bytes += size;
        out.values_.push_back(
            null ? PostgresResult::Value()
                 : PostgresResult::Value(std::in_place, PQgetvalue(raw, row, i), size));
      }
      if (out.rows() > limits.rows || bytes > limits.bytes)
        return fail(Errc::kExhausted, "the result has more than {} rows or {} bytes", limits.rows,
                    limits.bytes);
    }
  }
  if (error) return std::unexpected(*std::move(error));
  return out;
}

}  // namespace nexus::drivers

#include "nexus/publish/approvals.hpp"

#include <fmt/format.h>

#include <array>

#include "nexus/base/id.hpp"
#include "nexus/base/text.hpp"
#include "publish/signature.hpp"

namespace nexus::publish {
namespace {

using knowledge::SqlValue;

constexpr std::array<std::string_view, 1> kMigrations = {
    R"(CREATE TABLE approval_key (id INTEGER PRIMARY KEY CHECK (id = 1), key TEXT NOT NULL);
CREATE TABLE approvals_used (token TEXT PRIMARY KEY, time INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID)"};

std::unexpected<Error> unknown() {
  return fail(Errc::kNotFound, "this link is none of this agent's, or a part of it is missing");
}

}  // namespace

Result<std::unique_ptr<Approvals>> Approvals::open(Clock& clock, knowledge::StateDb& db) {
  if (auto migrated = db.migrate("approvals", kMigrations); !migrated)
    return propagate(std::move(migrated), "links of approval");
  const std::array<SqlValue, 1> fresh = {base::random_hex(32)};
  if (auto made = db.execute("INSERT OR IGNORE INTO approval_key VALUES (1, ?)", fresh); !made)
    return propagate(std::move(made), "links of approval");
  const auto rows = db.query("SELECT key FROM approval_key");
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::kCorrupt, "links of approval: there is no key");
  return std::unique_ptr<Approvals>(new Approvals(clock, db, rows->front().text(0)));
}

std::string Approvals::token(const Ticket& ticket) const {
  const auto text =
      fmt::format("{}~{}~{}", ticket.action, ticket.receiver, base::to_unix_millis(ticket.expires));
  return text + "~" + hmac_sha256(key_, text);
}

Result<Ticket> Approvals::read(std::string_view token) const {
  const auto cut = token.rfind('~');
  if (cut == std::string_view::npos || token.size() > 500) return unknown();
  const auto text = token.substr(0, cut);
  if (!same_secret(hmac_sha256(key_, text), token.substr(cut + 1))) return unknown();
  const auto parts = base::split(text, '~');
  if (parts.size() != 3) return unknown();
  const auto expires = base::parse_int(parts[2]);
  if (!expires) return unknown();
  Ticket out{std::string(parts[0]), std::string(parts[1]), base::from_unix_millis(*expires)};
  if (clock_.wall() >= out.expires)
    return fail(Errc::kTimeout, "this link has expired at {}", base::to_rfc3339(out.expires));
  return out;
}

Result<Ticket> Approvals::look(std::string_view token) {
  auto ticket = read(token);
  if (!ticket) return ticket;
  const std::array<SqlValue, 1> key = {std::string(token)};
  const auto used = db_.query("SELECT time FROM approvals_used WHERE token = ?", key);
  if (!used) return std::unexpected(used.error());
  if (!used->empty())
    return fail(Errc::kConflict, "this link was used at {}",
                base::to_rfc3339(base::from_unix_millis(used->front().integer(0))));
  return ticket;
}

Result<Ticket> Approvals::redeem(std::string_view token) {
  auto ticket = look(token);
  if (!ticket) return ticket;
  const auto now = base::to_unix_millis(clock_.wall());
  const std::array<SqlValue, 3> values = {std::string(token), now,
                                          base::to_unix_millis(ticket->expires)};
  // Of two answers at once one is first: the other's row is there already.
  if (auto noted = db_.execute("INSERT INTO approvals_used VALUES (?, ?, ?)", values); !noted) {
    if (auto again = look(token); !again) return again;
    return propagate(std::move(noted), "note that the link was used");
  }
  const std::array<SqlValue, 1> old = {now - 86'400'000};
  (void)db_.execute("DELETE FROM approvals_used WHERE expires < ?", old);
  return ticket;
}

}  // namespace nexus::publish

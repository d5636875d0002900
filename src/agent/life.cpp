#include "agent/life.hpp"

#include <fmt/format.h>

#include <array>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::agent {
namespace {

using knowledge::SqlValue;

constexpr std::array<std::string_view, 1> kMigrations = {
    "CREATE TABLE agent_life (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, started "
    "INTEGER NOT NULL, alive INTEGER NOT NULL, stopped INTEGER)"};

}  // namespace

Result<Life> Life::begin(const Clock& clock, knowledge::StateDb& db, const host::Roots& roots) {
  if (auto made = db.migrate("life", kMigrations); !made) return propagate(std::move(made), "life");
  const auto rows = db.query("SELECT boot, alive, stopped FROM agent_life");
  if (!rows) return std::unexpected(rows.error());
  const std::string boot(
      base::trim(host::read_file(roots.proc("sys/kernel/random/boot_id")).value_or(std::string())));
  Life out(db);
  if (!rows->empty() && rows->front().is_null(2)) {
    const bool same_boot = rows->front().text(0) == boot;
    out.unclean_ = fmt::format(
        "the agent did not stop in order: it was last seen at {}, {}",
        base::to_rfc3339(base::from_unix_millis(rows->front().integer(1))),
        same_boot
            ? "and the host has run on since (killed, or it crashed: see its journal)"
            : "and the host was started anew since (power, a kernel crash, or a forced reset)");
  }
  const auto now = base::to_unix_millis(clock.wall());
  const std::array<SqlValue, 3> values = {boot, now, now};
  if (auto done = db.execute("INSERT OR REPLACE INTO agent_life VALUES (1, ?, ?, ?, NULL)", values);
      !done)
    return propagate(std::move(done), "life");
  return out;
}

Status Life::note(const Clock& clock) {
  if (clock.steady() < next_) return {};
  next_ = clock.steady() + kNoteEvery;
  const std::array<SqlValue, 1> values = {base::to_unix_millis(clock.wall())};
  return db_->execute("UPDATE agent_life SET alive = ?", values);
}

Status Life::end(const Clock& clock) {
  const auto now = base::to_unix_millis(clock.wall());
  const std::array<SqlValue, 2> values = {now, now};
  return db_->execute("UPDATE agent_life SET alive = ?, stopped = ?", values);
}

}  // namespace nexus::agent

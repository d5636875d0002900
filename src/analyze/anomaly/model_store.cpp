#include "analyze/anomaly/model_store.hpp"

#include <array>

namespace nexus::analyze {
namespace {

constexpr std::array<std::string_view, 1> kMigrations = {
    "CREATE TABLE anomaly_models (key TEXT PRIMARY KEY, time INTEGER NOT NULL, state TEXT NOT "
    "NULL) "
    "WITHOUT ROWID"};
constexpr std::int64_t kKept = 30LL * 86'400'000;

}  // namespace

Result<ModelStore> ModelStore::open(knowledge::StateDb& db) {
  if (auto made = db.migrate("anomaly_models", kMigrations); !made)
    return std::unexpected(made.error());
  return ModelStore(db);
}

std::string ModelStore::load(const std::string& key) {
  const auto rows = db_->query("SELECT state FROM anomaly_models WHERE key = ?",
                               std::array<knowledge::SqlValue, 1>{key});
  return rows && !rows->empty() ? rows->front().text(0) : std::string();
}

Status ModelStore::save(const std::vector<std::pair<std::string, std::string>>& models,
                        WallTime now) {
  if (models.empty()) return {};
  const std::int64_t time = base::to_unix_millis(now);
  return db_->transaction([&]() -> Status {
    for (const auto& [key, state] : models) {
      const std::array<knowledge::SqlValue, 3> values = {key, time, state};
      if (auto put = db_->execute("INSERT OR REPLACE INTO anomaly_models VALUES (?,?,?)", values);
          !put)
        return put;
    }
    return db_->execute("DELETE FROM anomaly_models WHERE time < ?",
                        std::array<knowledge::SqlValue, 1>{time - kKept});
  });
}

}  // namespace nexus::analyze

// Sqlite: one connection and its statements, as Results. Below StateDb; no other room sees it.
//
// Thread safety: none; StateDb serialises.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::knowledge {

class Sqlite {
 public:
  /// Opens what is there; the file must exist (or be ":memory:").
  [[nodiscard]] static Result<std::unique_ptr<Sqlite>> open(const std::string& path);
  ~Sqlite();
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;

  /// One statement, from the cache or prepared now. Rows are kept when `rows` is given.
  [[nodiscard]] Status run(std::string_view sql, std::span<const SqlValue> values,
                           std::vector<Row>* rows);
  /// Several statements without values, e.g. a migration.
  [[nodiscard]] Status script(std::string_view sql);
  [[nodiscard]] std::int64_t last_insert() const;
  /// A full disk and the like end a transaction by themselves.
  [[nodiscard]] bool in_transaction() const;
  /// kCorrupt when the file is damaged.
  [[nodiscard]] Status check();
  /// The same without comparing indexes with their tables, which takes long.
  [[nodiscard]] Status quick_check();

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

  explicit Sqlite(sqlite3* db) : db_(db) {}
  [[nodiscard]] Status check_with(std::string_view pragma);
  [[nodiscard]] Error error(std::string_view sql) const;
  [[nodiscard]] Result<sqlite3_stmt*> prepare(std::string_view sql);
  [[nodiscard]] Status bind(sqlite3_stmt* statement, std::string_view sql,
                            std::span<const SqlValue> values);
  [[nodiscard]] Status step_all(sqlite3_stmt* statement, std::string_view sql,
                                std::vector<Row>* rows);

  sqlite3* db_;
  std::unordered_map<std::string, Statement> statements_;
};

}  // namespace nexus::knowledge

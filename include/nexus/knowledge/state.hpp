// StateDb: what must outlive the process: actions, decisions, findings, audit. One SQLite file in
// WAL mode with synchronous=FULL below data_dir.
//
// Each owner brings its tables as a numbered list of migrations under its own name, applied once,
// in order, in a transaction. Statements are prepared once and cached. Values are bound, never
// pasted. A damaged file is moved aside (state.db.damaged-TIME) and a new one is made; the caller
// is told.
//
// Thread safety: all members; calls but check() are serialised by one mutex. Errors: Result, with
// the SQL's first words in it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::knowledge {

using SqlValue = std::variant<std::monostate, std::int64_t, double, std::string>;

class Row {
 public:
  explicit Row(std::vector<SqlValue> values) : values_(std::move(values)) {}
  [[nodiscard]] std::int64_t integer(std::size_t column) const;  // 0 for NULL
  [[nodiscard]] double real(std::size_t column) const;           // 0 for NULL
  [[nodiscard]] std::string text(std::size_t column) const;      // empty for NULL
  [[nodiscard]] bool is_null(std::size_t column) const;

 private:
  std::vector<SqlValue> values_;
};

class StateDb {
 public:
  /// `path` may be ":memory:" in tests. Directories must exist. Files are created with mode 0600.
  [[nodiscard]] static Result<std::unique_ptr<StateDb>> open(const std::string& path);
  ~StateDb();
  StateDb(const StateDb&) = delete;
  StateDb& operator=(const StateDb&) = delete;

  /// The damaged file that was moved aside when this one was opened.
  [[nodiscard]] const std::optional<std::string>& quarantined() const noexcept;

  /// kCorrupt when the file is damaged. Read through on a connection of its own: nobody who reads
  /// or writes meanwhile waits for it.
  [[nodiscard]] Status check() const;

  [[nodiscard]] Status migrate(std::string_view owner,
                               std::span<const std::string_view> migrations);

  [[nodiscard]] Status execute(std::string_view sql, std::span<const SqlValue> values = {});
  [[nodiscard]] Result<std::vector<Row>> query(std::string_view sql,
                                               std::span<const SqlValue> values = {});
  [[nodiscard]] Result<std::int64_t> insert(std::string_view sql,
                                            std::span<const SqlValue> values);  // rowid
  /// Runs `body` in one transaction; rolls back when it fails. `body` must not call transaction().
  [[nodiscard]] Status transaction(const std::function<Status()>& body);

 private:
  struct Impl;
  explicit StateDb(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::knowledge

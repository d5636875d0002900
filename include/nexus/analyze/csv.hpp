// Series from CSV text, for `replay` and `forecast`: any table with one row a time.
//
// Understood: separators , ; tab and | (found by the first row); quotes as in RFC 4180; line ends
// LF, CRLF and CR; a byte order mark; a header or none (columns are then "column1", ...); decimal
// commas where the separator is ; or tab; missing values (empty, NA, N/A, NaN, null, none, -, ?,
// and infinities, which no series has). Times are in the column named time, timestamp, ts, date,
// datetime or ds (any case), else in the first one when its first cell is a date; Unix seconds,
// milliseconds from 1e11 up, RFC 3339, or "2014-02-14 14:30[:00[.5]]" in UTC. A time column that
// holds small whole numbers (below 1e7) counts rows. Without times row i stands at i steps of
// `step`. A column with mostly words among its first 100 cells is no series and is left out.
//
// What is wrong in a line is a problem with the number of the line (1 is the first), and never
// costs another line: a row with too few or too many cells and one whose time cannot be read are
// skipped, a cell that is no number counts as missing. All are counted, the first kMostProblems are
// told. The text as a whole fails when nothing can be read out of it.
//
// Times are kept as written, duplicate and backward ones too: readers decide. Thread safety: pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::analyze {

struct CsvOptions {
  std::string time_column;           // empty: found as above
  std::vector<std::string> columns;  // series to read; empty: all that hold numbers
  Millis step{60'000};               // between rows that carry no time
};

struct CsvProblem {
  std::size_t line = 0;
  std::string message;
};

struct CsvTable {
  static constexpr std::size_t kMostProblems = 20;
  static constexpr std::size_t kMostColumns = 10'000;
  static constexpr std::size_t kMostCells = 200'000'000;

  std::vector<std::string> names;            // of the series
  std::vector<std::vector<double>> columns;  // one a series, NaN where missing, all of one length
  std::vector<std::int64_t> times;           // milliseconds since the epoch, as long
  std::vector<std::size_t> lines;            // where each row begins
  bool timed = false;                        // false: rows were counted
  std::string time_name;                     // of the column of times, empty without one
  std::vector<std::string> time_texts;       // as written, empty without one
  std::vector<std::string> left_out;         // columns of words
  std::vector<CsvProblem> problems;
  std::size_t problem_count = 0;

  [[nodiscard]] std::size_t rows() const noexcept { return times.size(); }
  /// The line of the first row that is not later than one before it; 0: there is none.
  [[nodiscard]] std::size_t first_not_later() const noexcept;
  /// The usual distance of two rows: the median of those that go forward. `otherwise` below 2 rows.
  [[nodiscard]] Millis step(Millis otherwise) const;
};

[[nodiscard]] Result<CsvTable> parse_csv(std::string_view text, const CsvOptions& options);
/// Of a file ("-": standard input) of at most 1 GiB.
[[nodiscard]] Result<CsvTable> read_csv(const std::string& path, const CsvOptions& options);

}  // namespace nexus::analyze

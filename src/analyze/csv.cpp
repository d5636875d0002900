#include "nexus/analyze/csv.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <optional>

#include "nexus/base/text.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::analyze {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kMostBytes = 1U << 30;
constexpr std::size_t kLooked = 100;         // cells that decide whether a column holds numbers
constexpr std::size_t kMostCell = 1U << 16;  // bytes of a cell: what is longer is an open quote
constexpr double kRowNumbers = 1e7;
// Unix times by their size: seconds until the year 5138, then milli-, micro-, nanoseconds.
constexpr double kMilliseconds = 1e11;
constexpr double kMicroseconds = 1e14;
constexpr double kNanoseconds = 1e17;
constexpr double kMostTime = 1e20;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string shown(std::string_view cell) {
  constexpr std::size_t kShown = 40;
  return base::sanitize_utf8(cell.size() > kShown ? std::string(cell.substr(0, kShown)) + "..."
                                                  : std::string(cell));
}

bool is_missing(std::string_view cell) {
  static constexpr std::array<std::string_view, 9> kWords{"",     "na", "n/a", "nan", "null",
                                                          "none", "-",  "?",   "nil"};
  return cell.size() <= 4 && std::ranges::find(kWords, lower(cell)) != kWords.end();
}

/// Nothing where the cell is no number; NaN where it is missing.
std::optional<double> number_of(std::string_view cell, bool decimal_comma) {
  if (!cell.empty() && cell.front() == '+') cell.remove_prefix(1);
  if (const auto value = base::parse_double(cell)) return std::isfinite(*value) ? *value : kNaN;
  if (is_missing(cell)) return kNaN;
  if (!decimal_comma || std::ranges::count(cell, ',') != 1) return std::nullopt;
  std::string dotted(cell);
  *std::ranges::find(dotted, ',') = '.';
  if (const auto value = base::parse_double(dotted)) return *value;
  return std::nullopt;
}

/// "2014-02-14 14:30" and its relatives as RFC 3339.
std::optional<std::int64_t> date_of(std::string_view cell) {
  if (cell.size() < 10 || !std::isdigit(static_cast<unsigned char>(cell[0]))) return std::nullopt;
  std::string text(cell);
  if (text[4] == '/' && text[7] == '/') text[4] = text[7] = '-';
  if (text[4] != '-' || text[7] != '-') return std::nullopt;
  if (text.size() == 10) text += "T00:00:00";
  text[10] = 'T';
  if (text.size() == 16) text += ":00";
  const std::string_view clock = std::string_view(text).substr(11);
  if (clock.find_first_of("Z+-") == std::string_view::npos) text += 'Z';
  const auto time = base::parse_time(text);
  if (!time) return std::nullopt;
  return base::to_unix_millis(*time);
}

/// How many of a unit are a millisecond, by the largest of a column's times.
double a_millisecond(double largest) {
  if (largest >= kNanoseconds) return 1e6;
  if (largest >= kMicroseconds) return 1e3;
  return largest >= kMilliseconds ? 1 : 1e-3;
}

/// A number is left as it is: the unit is the column's.
struct TimeCell {
  bool is_number = false;
  double number = 0;
  std::int64_t date = 0;
};

std::optional<TimeCell> time_of(std::string_view cell) {
  const auto number = base::parse_double(cell);
  if (!number) {
    const auto date = date_of(cell);
    return date ? std::optional(TimeCell{false, 0, *date}) : std::nullopt;
  }
  if (!(std::abs(*number) < kMostTime)) return std::nullopt;
  return TimeCell{true, *number, 0};
}

/// A number that is a time of the years 2001 to 2096, in whatever unit.
bool is_epoch(double number) {
  constexpr double kFirst = 1e9;
  constexpr double kLast = 4e9;
  for (const double unit : {1.0, 1e3, 1e6, 1e9})
    if (number >= kFirst * unit && number < kLast * unit) return true;
  return false;
}

/// Whether most steps are equal: times of rows are even, counters are not.
bool even(std::vector<double> steps) {
  if (steps.empty()) return false;
  std::ranges::sort(steps);
  const double middle = steps[steps.size() / 2];
  return 2 * static_cast<std::size_t>(std::ranges::count(steps, middle)) > steps.size();
}

/// Cuts text into rows of cells.
class Cutter {
 public:
  Cutter(std::string_view text, char separator) : rest_(text), separator_(separator) {}

  /// False at the end. An empty line is a row with one empty cell.
  bool next(std::vector<std::string>& cells, std::size_t& line) {
    if (rest_.empty()) return false;
    line = line_;
    broken_ = false;
    std::size_t count = 0;
    while (true) {
      if (count == cells.size()) cells.emplace_back();
      if (cell(cells[count++])) break;
    }
    cells.resize(count);
    return true;
  }

  /// Whether the last row had a quote that does not end.
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  /// One cell; true when it ended its row.
  bool cell(std::string& out) {
    out.clear();
    while (!rest_.empty() &&
           (rest_.front() == ' ' || (rest_.front() == '\t' && separator_ != '\t')))
      rest_.remove_prefix(1);
    if (!rest_.empty() && rest_.front() == '"') quoted(out);
    const std::size_t end = rest_.find_first_of(std::array{separator_, '\n', '\r'}.data(), 0, 3);
    const std::string_view plain = rest_.substr(0, end);
    out.append(base::trim(plain));
    rest_.remove_prefix(plain.size());
    if (rest_.empty()) return true;
    const char stop = rest_.front();
    rest_.remove_prefix(1);
    if (stop == separator_) return false;
    if (stop == '\r' && !rest_.empty() && rest_.front() == '\n') rest_.remove_prefix(1);
    ++line_;
    return true;
  }

  void quoted(std::string& out) {
    const std::string_view begin = rest_;
    const std::size_t line = line_;
    rest_.remove_prefix(1);
    while (out.size() <= kMostCell) {
      const std::size_t quote = rest_.substr(0, kMostCell).find('"');
      if (quote == std::string_view::npos) break;
      const std::string_view part = rest_.substr(0, quote);
      line_ += static_cast<std::size_t>(std::ranges::count(part, '\n'));
      out.append(part);
      rest_.remove_prefix(quote + 1);
      if (rest_.empty() || rest_.front() != '"') return;
      out += '"';
      rest_.remove_prefix(1);
    }
    // No end in sight: the quote is taken for a letter, so that only this row suffers.
    broken_ = true;
    out.clear();
    rest_ = begin;
    line_ = line;
  }

  std::string_view rest_;
  char separator_;
  std::size_t line_ = 1;
  bool broken_ = false;
};

char separator_of(std::string_view text) {
  static constexpr std::string_view kSeparators = ",;\t|";
  std::array<std::size_t, kSeparators.size()> counts{};
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '\n' || c == '\r') break;
    if (const auto i = kSeparators.find(c); i != std::string_view::npos) ++counts[i];
  }
  // "1,5;2,5": a semicolon beside commas means that those are decimal.
  if (counts[1] > 0) return ';';
  const auto most = std::ranges::max_element(counts);
  return *most == 0 ? ',' : kSeparators[static_cast<std::size_t>(most - counts.begin())];
}

bool is_time_name(std::string_view name) {
  static constexpr std::array<std::string_view, 10> kNames{
      "time", "timestamp", "ts",    "date",     "datetime",
      "ds",   "_time",     "epoch", "unixtime", "unix_time"};
  return std::ranges::find(kNames, lower(name)) != kNames.end();
}

class Reader {
 public:
  Reader(std::string_view text, const CsvOptions& options)
      : separator_(separator_of(text)), cutter_(text, separator_), options_(options) {}

  Result<CsvTable> read() {
    std::size_t line = 0;
    do {
      if (!cutter_.next(cells_, line)) return fail(Errc::kInvalidArgument, "there is no row in it");
    } while (blank());
    if (cells_.size() > CsvTable::kMostColumns) {
      return fail(Errc::kExhausted, "line {}: {} columns, at most {}", line, cells_.size(),
                  CsvTable::kMostColumns);
    }
    const bool header = std::ranges::any_of(cells_, [&](const std::string& cell) {
      return !number_of(cell, decimal_comma()) && !time_of(cell);
    });
    name_columns(header);
    if (Status chosen = choose(line); !chosen) return std::unexpected(chosen.error());
    if (header) {
      look_ahead();
    } else {
      first_ = cells_;
      look_ahead();
      cells_ = first_;
      take_row(line);
    }
    while (cutter_.next(cells_, line)) {
      if (blank()) continue;
      if (out_.rows() * columns_.size() > CsvTable::kMostCells) {
        return fail(Errc::kExhausted, "line {}: more than {} cells", line, CsvTable::kMostCells);
      }
      take_row(line);
    }
    return finish();
  }

 private:
  [[nodiscard]] bool decimal_comma() const { return separator_ == ';' || separator_ == '\t'; }
  [[nodiscard]] bool blank() const { return cells_.size() == 1 && cells_[0].empty(); }

  void complain(std::size_t line, std::string message) {
    if (++out_.problem_count <= CsvTable::kMostProblems)
      out_.problems.push_back({line, std::move(message)});
  }

  void name_columns(bool header) {
    width_ = cells_.size();
    for (std::size_t i = 0; i < width_; ++i) {
      std::string name = header ? base::sanitize_utf8(cells_[i]) : std::string();
      if (name.empty()) name = fmt::format("column{}", i + 1);
      names_.push_back(std::move(name));
    }
    first_is_date_ = !header && date_of(cells_[0]).has_value();
    header_ = header;
  }

  Status choose(std::size_t line) {
    const auto find = [&](const std::string& name) {
      return static_cast<std::size_t>(std::ranges::find(names_, name) - names_.begin());
    };
    if (!options_.time_column.empty()) {
      time_at_ = find(options_.time_column);
      if (time_at_ == width_) return unknown(line, options_.time_column);
    } else {
      time_at_ =
          static_cast<std::size_t>(std::ranges::find_if(names_, is_time_name) - names_.begin());
      if (time_at_ == width_ && first_is_date_) time_at_ = 0;
    }
    for (const std::string& name : options_.columns) {
      const std::size_t i = find(name);
      if (i == width_) return unknown(line, name);
      columns_.push_back(i);
    }
    return {};
  }

  Status unknown(std::size_t line, const std::string& name) const {
    std::string known;
    for (std::size_t i = 0; i < std::min<std::size_t>(width_, 20); ++i)
      known += (i == 0 ? "" : ", ") + shown(names_[i]);
    return fail(Errc::kNotFound, "line {}: there is no column \"{}\"; there are {}", line,
                shown(name), known);
  }

  /// Which columns hold words, and whether the first holds times (dates; numbers that only grow
  /// under the name "t", which may be a temperature too; Unix times that do so without any name,
  /// for under another's they may be a counter's), by the rows that come first.
  void look_ahead() {
    if (!columns_.empty() && time_at_ != width_) return;
    Cutter ahead = cutter_;
    std::vector<std::size_t> words(width_);
    std::vector<std::size_t> given(width_);
    std::vector<std::string> cells = header_ ? std::vector<std::string>() : first_;
    std::size_t line = 0;
    std::size_t dates = 0;
    const bool any_number = lower(names_[0]) == "t";
    bool grows = width_ > 1;
    double before = -std::numeric_limits<double>::infinity();
    std::vector<double> steps;
    for (std::size_t row = 0; row < kLooked; ++row) {
      if ((row > 0 || header_) && !ahead.next(cells, line)) break;
      if (cells.size() != width_) continue;
      dates += date_of(cells[0]) ? 1 : 0;
      if (const auto first = base::parse_double(cells[0]); first && grows) {
        grows = *first > before && (any_number || (!header_ && is_epoch(*first)));
        if (std::isfinite(before)) steps.push_back(*first - before);
        before = *first;
      }
      for (std::size_t i = 0; i < width_; ++i) {
        if (is_missing(cells[i])) continue;
        ++given[i];
        words[i] += number_of(cells[i], decimal_comma()) ? 0 : 1;
      }
    }
    if (time_at_ == width_ && options_.time_column.empty() &&
        (dates * 2 > given[0] ||
         (grows && given[0] > 1 && words[0] == 0 && (any_number || even(steps)))))
      time_at_ = 0;
    if (!columns_.empty()) return;
    for (std::size_t i = 0; i < width_; ++i) {
      if (i == time_at_) continue;
      if (words[i] * 2 > given[i]) {
        out_.left_out.push_back(names_[i]);
      } else {
        columns_.push_back(i);
      }
    }
  }

  void take_row(std::size_t line) {
    const std::size_t row = seen_++;
    if (cutter_.broken()) {
      complain(line, "a quote that begins here does not end; the row is skipped");
      return;
    }
    if (cells_.size() != width_) {
      complain(line, fmt::format("{} cells, expected {} ({}); the row is skipped", cells_.size(),
                                 width_, row_shape()));
      return;
    }
    std::int64_t time = static_cast<std::int64_t>(row) * options_.step.count();
    if (time_at_ != width_) {
      const auto given = time_of(cells_[time_at_]);
      if (!given) {
        complain(line, fmt::format("\"{}\" is not a time (column {}): expected Unix time, RFC "
                                   "3339 or \"2014-02-14 14:30:00\"; the row is skipped",
                                   shown(cells_[time_at_]), shown(names_[time_at_])));
        return;
      }
      time = given->date;
      if (given->is_number) numbers_.emplace_back(out_.times.size(), given->number);
      out_.time_texts.push_back(cells_[time_at_]);
    }
    if (out_.columns.empty()) out_.columns.resize(columns_.size());
    out_.times.push_back(time);
    out_.lines.push_back(line);
    for (std::size_t c = 0; c < columns_.size(); ++c) out_.columns[c].push_back(value(line, c));
  }

  double value(std::size_t line, std::size_t c) {
    const std::string& cell = cells_[columns_[c]];
    const auto number = number_of(cell, decimal_comma());
    if (!number) {
      complain(line, fmt::format("\"{}\" is not a number (column {}); it counts as missing",
                                 shown(cell), shown(names_[columns_[c]])));
    }
    return number.value_or(kNaN);
  }

  [[nodiscard]] std::string row_shape() const {
    std::string out;
    for (std::size_t i = 0; i < std::min<std::size_t>(width_, 4); ++i)
      out += (i == 0 ? "" : ", ") + shown(names_[i]);
    return width_ > 4 ? out + ", ..." : out;
  }

  Result<CsvTable> finish() {
    if (columns_.empty()) {
      return fail(Errc::kInvalidArgument, "no column holds numbers (separator '{}', columns {})",
                  separator_ == '\t' ? std::string("\\t") : std::string(1, separator_),
                  row_shape());
    }
    if (out_.rows() == 0) {
      if (out_.problems.empty())
        return fail(Errc::kInvalidArgument, "there is a header ({}) but no row", row_shape());
      return fail(Errc::kInvalidArgument, "no row can be read; line {}: {}", out_.problems[0].line,
                  out_.problems[0].message);
    }
    for (const std::size_t i : columns_) out_.names.push_back(names_[i]);
    double largest = 0;
    for (const auto& [row, number] : numbers_) largest = std::max(largest, std::abs(number));
    for (const auto& [row, number] : numbers_)
      out_.times[row] = std::llround(number / a_millisecond(largest));
    out_.timed = time_at_ != width_;
    if (out_.timed) out_.time_name = names_[time_at_];
    if (out_.timed && std::ranges::all_of(out_.times, [](std::int64_t t) {
          return t % 1000 == 0 && std::abs(static_cast<double>(t)) < kRowNumbers * 1000;
        })) {
      out_.timed = false;
      for (auto& time : out_.times) time = time / 1000 * options_.step.count();
    }
    return std::move(out_);
  }

  char separator_;
  Cutter cutter_;
  const CsvOptions& options_;
  CsvTable out_;
  std::vector<std::string> cells_;
  std::vector<std::string> first_;  // without a header: the first row
  std::vector<std::string> names_;
  std::vector<std::size_t> columns_;  // where the series are
  std::size_t width_ = 0;
  std::size_t time_at_ = 0;                              // width_: nowhere
  std::vector<std::pair<std::size_t, double>> numbers_;  // rows with a number for a time
  std::size_t seen_ = 0;  // rows, skipped ones too, so that those without times keep theirs
  bool header_ = false;
  bool first_is_date_ = false;
};

Result<std::string> slurp(const std::string& path) {
  host::Fd fd(path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return std::unexpected(Error::from_errno("open " + path));
  std::string text;
  std::vector<char> buffer(1U << 20);
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(Error::from_errno("read " + path));
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMostBytes)
      return fail(Errc::kExhausted, "{}: more than {} bytes", path, kMostBytes);
  }
}

}  // namespace

Millis CsvTable::step(Millis otherwise) const {
  std::vector<std::int64_t> steps;
  for (std::size_t i = 1; i < times.size(); ++i)
    if (times[i] > times[i - 1]) steps.push_back(times[i] - times[i - 1]);
  if (steps.empty()) return otherwise;
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::ranges::nth_element(steps, middle);
  return Millis(*middle);
}

std::size_t CsvTable::first_not_later() const noexcept {
  for (std::size_t i = 1; i < times.size(); ++i)
    if (times[i] <= times[i - 1]) return lines[i];
  return 0;
}

Result<CsvTable> parse_csv(std::string_view text, const CsvOptions& options) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    return fail(Errc::kUnsupported, "the text is UTF-16: expected UTF-8");
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    return fail(Errc::kInvalidArgument, "line {}: a NUL byte; this is not a CSV file",
                1 + std::ranges::count(text.substr(0, zero), '\n'));
  }
  return Reader(text, options).read();
}

Result<CsvTable> read_csv(const std::string& path, const CsvOptions& options) {
  const auto text = slurp(path);
  if (!text) return std::unexpected(text.error());
  auto table = parse_csv(*text, options);
  if (!table) return propagate(std::move(table), "{}", path);
  return table;
}

}  // namespace nexus::analyze

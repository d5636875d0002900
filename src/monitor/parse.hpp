// What the collectors of kernel text files share: words, lines, numbers, names that stay the same
// from run to run, and one error that names file and line of the first thing wrong.
//
// A collector goes on after a bad line or field and adds what can be read; Complaints remembers
// that something was wrong. In the good case nothing here allocates once every name was seen.
// Thread safety: plain values, one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {

/// Takes the next run of non-blank characters off the front of `rest`; empty at the end. Kernel
/// text is plain ASCII.
[[nodiscard]] inline std::string_view next_word(std::string_view& rest) noexcept {
  std::size_t first = 0;
  while (first < rest.size() && (rest[first] == ' ' || rest[first] == '\t')) ++first;
  std::size_t end = first;
  while (end < rest.size() && rest[end] != ' ' && rest[end] != '\t') ++end;
  const std::string_view word = rest.substr(first, end - first);
  rest.remove_prefix(end);
  return word;
}

/// The lines of a file, counted from 1. Empty lines are passed over but counted.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}
  [[nodiscard]] bool next(std::string_view& line) noexcept {
    while (!rest_.empty()) {
      line = base::take_until(rest_, '\n');
      ++number_;
      if (!line.empty()) return true;
    }
    return false;
  }
  [[nodiscard]] std::size_t number() const noexcept { return number_; }

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

/// Everything wrong in one run: the first complaint in full, the others counted.
class Complaints {
 public:
  /// `found` is shown in quotes, shortened and with invalid UTF-8 replaced.
  void add(std::string_view path, std::size_t line, std::string_view expected,
           std::string_view found);
  /// About the file as a whole.
  void add(std::string_view path, std::string_view what);
  void add(const Error& error);

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// kCorrupt when something is wrong. Forgets everything.
  [[nodiscard]] Status take();

 private:
  std::string first_;
  std::size_t count_ = 0;
};

/// Whether `text` may be a part of a metric's name.
[[nodiscard]] bool is_name_part(std::string_view text) noexcept;

/// What a collector keeps of each name in a file (a field, a device) from run to run. As names come
/// in the same order every time, finding one is one comparison. A name that comes twice in one run
/// is given only once, so that no series is added twice.
template <typename State>
class NameTable {
 public:
  explicit NameTable(std::size_t limit) : limit_(limit) {}

  void start_run() noexcept {
    ++run_;
    expected_ = 0;
    seen_ = 0;
  }
  /// The state of `name`, made by `make(name)` when it is new; null when `name` came before in this
  /// run, or when it is new and the table is full.
  template <typename Make>
  [[nodiscard]] State* next(std::string_view name, Make&& make) {
    std::size_t index = expected_;
    if (index >= entries_.size() || entries_[index].name != name) {
      const auto found = index_.find(name);
      if (found != index_.end()) {
        index = found->second;
      } else {
        if (entries_.size() >= limit_) return nullptr;
        index = entries_.size();
        entries_.push_back({std::string(name), 0, make(name)});
        index_.emplace(entries_.back().name, index);
      }
    }
    expected_ = index + 1;
    Entry& entry = entries_[index];
    if (entry.run == run_) return nullptr;
    entry.run = run_;
    ++seen_;
    return &entry.state;
  }
  /// Drops the names that this run did not have.
  void forget_absent() {
    if (seen_ == entries_.size()) return;
    std::erase_if(entries_, [this](const Entry& entry) { return entry.run != run_; });
    index_.clear();
    for (std::size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].name, i);
  }

 private:
  struct Entry {
    std::string name;
    std::uint64_t run = 0;
    State state;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };

  const std::size_t limit_;
  std::uint64_t run_ = 0;
  std::size_t expected_ = 0;
  std::size_t seen_ = 0;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> index_;
};

}  // namespace nexus::monitor

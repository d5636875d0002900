// Backfill: samples of the past on their way to the history's disk, in any order.
//
// Samples are collected by series and by windows of time, in which series with the same times share
// one column of them, and are written as long blocks when there is much, and by flush(). What a
// series has already stays: a sample at a time that the history holds a sample of that series for
// is left out and counted. Everything else is read together with what was there.
//
// Bounded by `most_bytes`, and by series: those that wait are the registry's limit at most. A
// series that is forgotten while it waits is made again when it is written, under another id; it is
// lost only when the registry has no room for it then. When the disk takes nothing, what was added
// waits, and more is refused (kUnavailable) once that much waits; flush() tries again, and gives up
// what it cannot write. So stored(), held(), lost() and what add() refused are together all that
// was given, after flush(). Errors: those of the registry (kExhausted: too many series) and of the
// disk. Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge {

class Backfill {
 public:
  Backfill(SeriesRegistry& registry, History& history, std::size_t most_bytes)
      : registry_(registry), history_(history), most_bytes_(most_bytes) {}

  /// `series`: a number that is only ever given with those labels; 0: there is none.
  [[nodiscard]] Status add(const Labels& labels, std::uint64_t series, std::int64_t time,
                           double value);
  /// Keeps the series of what waits from being forgotten for another while, and so their places in
  /// a registry that is full.
  void keep_alive();
  /// All that was added is on the medium when this returns well. What cannot be written is lost.
  [[nodiscard]] Status flush();

  [[nodiscard]] std::uint64_t stored() const noexcept { return stored_; }  // samples written
  [[nodiscard]] std::uint64_t held() const noexcept { return held_; }  // left out, had their time
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }  // added, and not written
  /// Why the last of what is lost was; empty when nothing is.
  [[nodiscard]] const std::string& why_lost() const noexcept { return why_lost_; }

 private:
  /// What a series has in the window that its last sample was in.
  struct Part {
    SeriesId id = 0;
    std::uint64_t series = 0;  // the number given last, 0: none
    Part* next = nullptr;      // whose sample came after this one's the last time
    std::size_t usual = 0;     // samples of its window before this one
    std::int64_t window = 0;
    std::vector<std::int64_t> times;
    std::vector<double> values;
  };
  /// What is closed of a window: the series with the same times together.
  struct Sets {
    std::vector<PastRows> rows;
    std::unordered_multimap<std::uint64_t, std::size_t> by_times;  // hash of times to its place
  };
  using Windows = std::map<std::int64_t, Sets>;

  [[nodiscard]] std::int64_t window_of(std::int64_t time) const noexcept;
  [[nodiscard]] Status take_up(const Labels& labels, std::uint64_t series);
  void close(Part& part);
  [[nodiscard]] Status make_room();
  [[nodiscard]] PastRows& set_of(std::vector<std::int64_t> times);
  void remember(SeriesId id, const Labels& labels);
  [[nodiscard]] Result<SeriesId> revived(SeriesId id);
  void leave_out_lost(PastRows& rows);
  [[nodiscard]] Status store(PastRows& rows);
  static void keep_from(Sets& sets, std::size_t first);
  [[nodiscard]] Status write();
  struct Waiting {
    std::uint64_t samples = 0;
    std::size_t bytes = 0;
  };
  [[nodiscard]] Waiting waiting() const;  // in closed_

  SeriesRegistry& registry_;
  History& history_;
  const std::size_t most_bytes_;
  std::int64_t window_millis_ = 0;                      // 0: not known yet
  std::unordered_map<SeriesId, Part> open_;             // addresses of elements are stable
  std::unordered_map<std::uint64_t, Part*> by_series_;  // of the numbers given since write()
  /// The series of all that waits; the registry may have forgotten some.
  std::unordered_map<SeriesId, std::shared_ptr<const Labels>> labels_;
  std::uint64_t current_series_ = 0;  // whose part is current_
  Part* current_ = nullptr;
  Windows closed_;
  std::size_t bytes_ = 0;
  std::string obstacle_;  // why nothing could be written; empty: it could, or was not tried
  std::uint64_t stored_ = 0;
  std::uint64_t held_ = 0;
  std::uint64_t lost_ = 0;
  std::string why_lost_;
};

}  // namespace nexus::knowledge

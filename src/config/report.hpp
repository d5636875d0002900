// Report: collects every problem of one load, and what belongs to the load as a whole.
//
// Problems come out in the order of the files (then environment, then flags), by line and column
// within each. Thread safety: none; one load, one thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/config/load.hpp"

namespace nexus::config {

class Report {
 public:
  /// Begins a source. Problems of earlier sources come first.
  void begin_source(std::string_view name) { sources_.emplace_back(name); }

  void add(Where where, std::string message) {
    problems_.push_back({std::move(where), std::move(message)});
  }

  /// The name belongs to the first that claims it; a second one is a problem. `kind` is singular:
  /// "vital".
  void claim(std::string_view kind, std::string_view name, const Where& where);

  /// Where a key was written last, by its dotted name; default-constructed when it was not.
  [[nodiscard]] Where place_of(std::string_view dotted_key) const;
  void note_place(std::string dotted_key, const Where& where) {
    places_[std::move(dotted_key)] = where;
  }

  /// Every key that a reader looked for, as a dotted name: what the reference file must show.
  void note_known(std::string dotted_key) { known_.insert(std::move(dotted_key)); }
  [[nodiscard]] const std::set<std::string>& known() const noexcept { return known_; }

  [[nodiscard]] std::vector<Problem> take();

 private:
  std::vector<std::string> sources_;
  std::vector<Problem> problems_;
  std::map<std::string, Where, std::less<>> places_;
  std::map<std::pair<std::string, std::string>, Where> names_;
  std::set<std::string> known_;
};

}  // namespace nexus::config

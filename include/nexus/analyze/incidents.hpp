// Incidents: findings that belong together, as one finding of its own.
//
// When something fires and others fire because of it (the causes that the book finds), that is an
// incident: with kFewest findings in all, or with two where the cause is a watched service. What
// counts are alerts, vitals and services of severity warning or more; forecasts, anomalies and
// hints are members too, and make none. What nothing explains belongs to what it began together
// with (half a minute), or is an incident with others like it, of which the first stands for the
// cause: their own records say nothing of each other, for nobody knows that one explains another.
// Members are what has fired since the cause did, or shortly before it: what is there for days is
// explained by it and belongs to nothing new. It begins with its first member and ends when none
// that counts has fired for kCalm, also when its cause ends before: a service that is down and up
// again all the time is one incident. Its record has the most upstream member as cause and the
// others as symptoms, those that have ended meanwhile among them; of more than a record has
// (kMostSymptoms) what fires comes first. When what was taken for the cause turns out to be a
// symptom, the incident ends at once and another begins with the same members.
//
// An incident says nothing new: its severity is info, no remedy answers it that does not name it
// (plan), and nobody is told who does not ask for its kind (publish).
//
// Thread safety: one thread; the state is the book's, and survives with it.
#pragma once

#include <memory>
#include <string_view>

#include "nexus/analyze/book.hpp"

namespace nexus::analyze {

class Incidents {
 public:
  static constexpr std::string_view kName = "incident";
  static constexpr std::size_t kFewest = 3;  // findings that count, the cause among them
  static constexpr std::size_t kFewestOfService = 2;
  static constexpr Millis kCalm{5 * 60'000};

  /// What began before `from` was found then and has not begun together: the start of an agent.
  explicit Incidents(Book& book, WallTime from = WallTime::min()) : book_(book), from_(from) {}
  /// Looks at what the book has related; called after Book::tick().
  void tick();

 private:
  Book& book_;
  const WallTime from_;
  std::shared_ptr<const Findings> seen_;
};

}  // namespace nexus::analyze

#include "publish/receiver_memory.hpp"

#include <algorithm>
#include <array>

#include "nexus/base/log.hpp"

namespace nexus::publish {
namespace {

using knowledge::SqlValue;

template <typename Done>
void complain(const Done& done) {
  if (!done) log::warning("publish", "what a receiver has to know: {}", done.error().message());
}

}  // namespace

ReceiverMemory::ReceiverMemory(Clock& clock, knowledge::StateDb& db, std::string receiver)
    : clock_(clock), db_(db), receiver_(std::move(receiver)) {
  const auto old = base::to_unix_millis(clock_.wall() - kKept);
  complain(db_.execute("DELETE FROM receiver_memory WHERE time < ?", std::array<SqlValue, 1>{old}));
  const auto rows = db_.query("SELECT key, value, time FROM receiver_memory WHERE receiver = ?",
                              std::array<SqlValue, 1>{receiver_});
  complain(rows);
  if (!rows) return;
  for (const auto& row : *rows) kept_.try_emplace(row.text(0), Kept{row.text(1), row.integer(2)});
}

std::optional<std::string> ReceiverMemory::recall(const std::string& key) const {
  const auto found = kept_.find(key);
  if (found == kept_.end()) return std::nullopt;
  return found->second.value;
}

void ReceiverMemory::note(const std::string& key, const std::string& value) {
  const Kept fresh{value, base::to_unix_millis(clock_.wall())};
  if (!kept_.contains(key) && kept_.size() >= kMost)
    forget(std::ranges::min_element(kept_, {}, [](const auto& one) {
             return one.second.time;
           })->first);
  kept_.insert_or_assign(key, fresh);
  complain(db_.execute("INSERT OR REPLACE INTO receiver_memory VALUES (?,?,?,?)",
                       std::array<SqlValue, 4>{receiver_, key, value, fresh.time}));
}

void ReceiverMemory::forget(const std::string& key) {
  const std::array<SqlValue, 2> values = {receiver_, key};
  if (kept_.erase(key) == 0) return;
  complain(db_.execute("DELETE FROM receiver_memory WHERE receiver = ? AND key = ?", values));
}

}  // namespace nexus::publish

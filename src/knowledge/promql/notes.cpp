// Notes that go with a result: what Prometheus 3 warns of and informs about, in its words.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "knowledge/promql/evaluator.hpp"
#include "nexus/base/go_text.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr std::size_t kTold = 10;

std::vector<std::string> first_of(const std::set<std::string>& notes, std::string_view kind) {
  std::vector<std::string> out;
  for (const std::string& note : notes) {
    if (out.size() == kTold) {
      out.push_back(fmt::format("{} more {} annotations omitted", notes.size() - kTold, kind));
      break;
    }
    out.push_back(note);
  }
  return out;
}

}  // namespace

std::string Evaluator::note(std::string_view kind, const Node& where, std::string_view what) const {
  const std::string_view before = text_.substr(0, where.offset);
  const auto line = 1 + std::ranges::count(before, '\n');
  const std::size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
  return fmt::format("PromQL {}: {} ({}:{})", kind, what, line, column);
}

void Evaluator::warn(const Node& where, std::string_view what) {
  if (warnings_.size() < kMaxNotes) warnings_.insert(note("warning", where, what));
}

void Evaluator::inform(const Node& where, std::string_view what) {
  if (infos_.size() < kMaxNotes) infos_.insert(note("info", where, what));
}

void Evaluator::check_quantiles(const Block& quantiles, const Node& where) {
  const auto say = [&](double value) {
    std::string what = "quantile value should be between 0 and 1, got ";
    base::append_go_json(what, value);
    warn(where, what);
  };
  double least = 0;
  double greatest = 1;
  bool is_number = true;
  for (const double value : quantiles.cells) {
    is_number &= !std::isnan(value);
    least = std::fmin(least, value);
    greatest = std::fmax(greatest, value);
  }
  if (!is_number) say(std::nan(""));
  if (least < 0) say(least);
  if (greatest > 1) say(greatest);
}

Account Evaluator::account() const {
  return {looked_at_, held_ + widest_, first_of(warnings_, "warning"), first_of(infos_, "info")};
}

}  // namespace nexus::knowledge::promql

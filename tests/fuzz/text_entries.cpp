// What the room knowledge takes from outside: expressions and text of samples.
#include <algorithm>
#include <vector>

#include "entries.hpp"
#include "nexus/knowledge/open_metrics.hpp"
#include "nexus/knowledge/promql.hpp"
#include "promise.hpp"

namespace nexus::fuzz {
namespace {

/// Three series, a sample every 15 s for five minutes.
class Samples final : public knowledge::Queryable {
 public:
  std::vector<knowledge::SeriesId> select(std::span<const knowledge::Matcher> matchers,
                                          std::int64_t, std::int64_t) const override {
    std::vector<knowledge::SeriesId> out;
    for (knowledge::SeriesId id = 0; id < series_.size(); ++id) {
      if (std::ranges::all_of(matchers, [&](const auto& m) { return m.matches(series_[id]); }))
        out.push_back(id);
    }
    return out;
  }
  const knowledge::Labels& labels(knowledge::SeriesId id) const override { return series_[id]; }
  void read(knowledge::SeriesId id, std::int64_t start, std::int64_t end,
            knowledge::Column& out) const override {
    for (std::int64_t time = 0; time <= kEnd; time += kStep) {
      if (time <= start || time > end) continue;
      out.times.push_back(time);
      out.values.push_back(static_cast<double>(time / kStep % 7 + id));
    }
  }
  static constexpr std::int64_t kEnd = 300'000;
  static constexpr std::int64_t kStep = 15'000;

 private:
  std::vector<knowledge::Labels> series_ = {knowledge::Labels("a", {{"x", "1"}}),
                                            knowledge::Labels("a", {{"x", "2"}, {"y", "z"}}),
                                            knowledge::Labels("b", {{"x", "1"}})};
};

}  // namespace

void promql(std::string_view text) {
  namespace pql = knowledge::promql;
  static_cast<void>(pql::parse_selector(text));
  const auto query = pql::Query::parse(text);
  if (!query) return promise(!query.error().message().empty(), "an error says why");
  const auto printed = query->to_string();
  const auto again = pql::Query::parse(printed);
  promise(again.has_value(), "what was printed can be parsed");
  promise(again->to_string() == printed, "what was printed is printed the same again");
  static const Samples samples;
  const pql::Limits limits{.max_samples = 10'000};
  static_cast<void>(query->instant(samples, Samples::kEnd, limits));
  static_cast<void>(query->range(samples, 0, Samples::kEnd, 60'000, limits));
}

void openmetrics(std::string_view text) {
  const auto read = [&](std::size_t cut) {
    std::string out;
    knowledge::OpenMetricsReader reader(
        [&](const knowledge::Labels& labels, std::uint64_t, std::int64_t time, double) -> Status {
          out += fmt::format("{} {}\n", knowledge::to_string(labels), time);
          return {};
        },
        [&](std::uint64_t line, const std::string& message) {
          out += fmt::format("{}: {}\n", line, message);
        });
    for (auto rest = text; !rest.empty(); rest.remove_prefix(std::min(cut, rest.size())))
      reader.feed(rest.substr(0, cut));
    reader.finish();
    return out;
  };
  promise(read(7) == read(text.size() + 1), "lines are read the same wherever the text is cut");
}

}  // namespace nexus::fuzz

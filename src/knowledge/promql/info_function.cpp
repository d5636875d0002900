// info(): to each series the data labels of the info series that have its instance and job. An
// experiment of Prometheus 3, as its documentation has it.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/signature.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr std::string_view kInstance = "instance";
constexpr std::string_view kJob = "job";
constexpr std::string_view kTargetInfo = "target_info";

/// What the second argument says.
struct Wanted {
  VectorSelector infos;
  std::vector<Matcher> names;    // of info series that are operands too: those stay as they are
  std::set<std::string> labels;  // to add; empty: all
  bool needs_one = false;        // a series without an info series is left out
};

Result<Wanted> wanted_of(const Call& call) {
  Wanted wanted;
  const auto add_name = [&](MatchOp op, std::string_view value) -> Status {
    auto made = Matcher::make(std::string(kMetricName), op, std::string(value));
    if (!made) return std::unexpected(made.error());
    wanted.infos.matchers.push_back(std::move(*made));
    return {};
  };
  if (call.arguments.size() < 2) {
    if (Status added = add_name(MatchOp::kEqual, kTargetInfo); !added) {
      return std::unexpected(added.error());
    }
    wanted.names = wanted.infos.matchers;
    return wanted;
  }
  const auto& given = std::get<VectorSelector>(without_parens(*call.arguments[1]).kind);
  wanted.infos.matchers = given.matchers;
  bool positive = false;
  for (const Matcher& matcher : given.matchers) {
    if (matcher.name() == kMetricName) {
      wanted.names.push_back(matcher);
      positive |= matcher.op() == MatchOp::kEqual || matcher.op() == MatchOp::kRegex;
      continue;
    }
    wanted.labels.insert(matcher.name());
    wanted.needs_one |= !matcher.matches("");
  }
  // Negated conditions alone name no metric.
  const bool none = wanted.names.empty();
  Status added;
  if (none) added = add_name(MatchOp::kEqual, kTargetInfo);
  if (!none && !positive) added = add_name(MatchOp::kRegex, ".+_info");
  if (!added) return std::unexpected(added.error());
  if (!none && !positive) wanted.names.push_back(wanted.infos.matchers.back());
  return wanted;
}

using Key = std::pair<std::string_view, std::string_view>;

Key key_of(const Row& row) {
  return {label_of(row, kInstance), label_of(row, kJob)};
}

class Enrichment {
 public:
  Enrichment(Evaluator& evaluator, const Wanted& wanted, const Block& infos)
      : evaluator_(evaluator), wanted_(wanted), infos_(infos), output_(infos.steps) {
    for (std::size_t r = 0; r < infos.rows.size(); ++r) {
      const Key key = key_of(infos.rows[r]);
      if (key != Key()) infos_of_[key].push_back(r);
    }
  }

  Status add(const Row& row, std::span<const double> cells) {
    const auto found = infos_of_.find(key_of(row));
    if (is_info(row) || found == infos_of_.end()) {
      if (!wanted_.needs_one || is_info(row)) std::ranges::copy(cells, output_.add(row).begin());
      return evaluator_.charge(cells.size());
    }
    std::map<std::vector<std::size_t>, std::size_t> row_of;  // by the info series that count
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (is_absent(cells[i])) continue;
      if (Status done = choose(found->second, i, chosen); !done) return done;
      const auto [target, fresh] = row_of.try_emplace(chosen, output_.rows.size());
      if (fresh) {
        if (Status done = add_row(row, chosen, target->second); !done) return done;
      }
      if (target->second != kNone) output_.row(target->second)[i] = cells[i];
    }
    return {};
  }

  Block take() && { return std::move(output_); }

 private:
  static constexpr std::size_t kNone = SIZE_MAX;

  [[nodiscard]] bool is_info(const Row& row) const {
    return !wanted_.names.empty() && std::ranges::all_of(wanted_.names, [&](const Matcher& m) {
      return m.matches(label_of(row, kMetricName));
    });
  }

  /// Of each name the series with the newest sample at this step.
  Status choose(const std::vector<std::size_t>& from, std::size_t step,
                std::vector<std::size_t>& chosen) const {
    std::map<std::string_view, std::size_t> newest;
    for (const std::size_t r : from) {
      const double time = infos_.row(r)[step];
      if (is_absent(time)) continue;
      const auto [entry, fresh] = newest.try_emplace(label_of(infos_.rows[r], kMetricName), r);
      if (fresh) continue;
      const double other = infos_.row(entry->second)[step];
      if (time == other) {
        return fail(Errc::kConflict, "found duplicate series for info metric: {} and {}",
                    to_string(labels_of(infos_.rows[entry->second])),
                    to_string(labels_of(infos_.rows[r])));
      }
      if (time > other) entry->second = r;
    }
    chosen.clear();
    for (const auto& [name, r] : newest) chosen.push_back(r);
    return {};
  }

  /// A row for the series with the labels of those info series; kNone when it is left out.
  Status add_row(const Row& row, const std::vector<std::size_t>& chosen, std::size_t& number) {
    std::map<std::string_view, std::string_view> added;
    for (const std::size_t r : chosen) {
      for (const Label& label : *infos_.rows[r].labels) {
        if (label.name == kMetricName || label.name == kInstance || label.name == kJob) continue;
        if (!wanted_.labels.empty() && !wanted_.labels.contains(label.name)) continue;
        if (!label_of(row, label.name).empty()) continue;
        const auto [entry, fresh] = added.try_emplace(label.name, label.value);
        if (!fresh && entry->second != label.value) {
          return fail(Errc::kConflict, "conflicting label: {}", label.name);
        }
      }
    }
    // An info series that was asked for is there, also when the series has all its labels already.
    if (chosen.empty() && wanted_.needs_one) {
      number = kNone;
      return {};
    }
    Labels labels = labels_of(row);
    for (const auto& [name, value] : added) labels = labels.with(name, value);
    auto kept = evaluator_.keep_made(std::move(labels));
    if (!kept) return std::unexpected(kept.error());
    output_.add({*kept, false});
    return evaluator_.charge(output_.steps);
  }

  Evaluator& evaluator_;
  const Wanted& wanted_;
  const Block& infos_;  // cells: when their samples are from
  std::map<Key, std::vector<std::size_t>> infos_of_;
  Block output_;
};

}  // namespace

Result<Block> info(Evaluator& evaluator, const Call& call) {
  auto base = evaluator.evaluate(*call.arguments[0]);
  if (!base) return base;
  const auto wanted = wanted_of(call);
  if (!wanted) return std::unexpected(wanted.error());
  const auto infos = evaluator.select(wanted->infos, Evaluator::Read::kTimestamps);
  if (!infos) return std::unexpected(infos.error());
  Enrichment enrichment(evaluator, *wanted, *infos);
  for (std::size_t r = 0; r < base->rows.size(); ++r) {
    if (Status done = enrichment.add(base->rows[r], base->row(r)); !done) {
      return std::unexpected(std::move(done).error());
    }
  }
  Block output = std::move(enrichment).take();
  output.names_matter = base->names_matter;
  output.drop_empty_rows();
  return output;
}

}  // namespace nexus::knowledge::promql

// Functions of classic histograms: series with a label `le`, one a bucket.
#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/number_text.hpp"
#include "knowledge/promql/quantile.hpp"
#include "knowledge/promql/signature.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge::promql {
namespace {

/// A bucket's series: the number of its row and its bound.
struct BucketRow {
  std::size_t row = 0;
  double upper_bound = 0;
};

struct Histogram {
  Row row;  // of the result
  std::string_view metric;
  std::vector<BucketRow> buckets;
};

/// The series that differ in nothing but `le` are one histogram; those without a bound are none's.
std::vector<Histogram> histograms_of(Evaluator& evaluator, const Block& block,
                                     const Node& argument) {
  const Signature signature({false, {"le"}}, Name::kKept);
  SignatureIndex index(signature);
  std::vector<Histogram> histograms;
  for (std::size_t r = 0; r < block.rows.size(); ++r) {
    const auto bound = base::parse_double(label_of(block.rows[r], "le"));
    if (!bound) {
      std::string what = "bucket label \"le\" is missing or has a malformed value of ";
      what += base::go_quoted(label_of(block.rows[r], "le"));
      if (const auto metric = label_of(block.rows[r], kMetricName); !metric.empty())
        what += " for metric name " + base::go_quoted(metric);
      evaluator.warn(argument, what);
      continue;
    }
    const std::uint32_t number = index.add(block.rows[r]);
    if (number == histograms.size()) {
      histograms.push_back({{&evaluator.keep(signature.labels(block.rows[r])), true},
                            label_of(block.rows[r], kMetricName),
                            {}});
    }
    histograms[number].buckets.push_back({r, *bound});
  }
  return histograms;
}

/// `value_of` (step, buckets, whether they were mended) at each step at which a histogram has
/// buckets.
template <typename ValueOf>
Result<Block> of_histograms(Evaluator& evaluator, const Node& argument, ValueOf&& value_of) {
  const auto input = evaluator.evaluate(argument);
  if (!input) return input;
  Block output(input->steps);
  std::vector<Bucket> buckets;
  for (const Histogram& histogram : histograms_of(evaluator, *input, argument)) {
    if (Status status = evaluator.charge(input->steps); !status) {
      return std::unexpected(std::move(status).error());
    }
    const auto cells = output.add(histogram.row);
    bool raised = false;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      buckets.clear();
      for (const BucketRow& bucket : histogram.buckets) {
        const double count = input->row(bucket.row)[i];
        if (is_present(count)) buckets.push_back({bucket.upper_bound, count});
      }
      if (!buckets.empty()) cells[i] = value_of(i, buckets, raised);
    }
    if (raised) {
      std::string what =
          "input to histogram_quantile needed to be fixed for monotonicity (see "
          "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
      if (!histogram.metric.empty())
        what += " for metric name " + base::go_quoted(histogram.metric);
      evaluator.inform(argument, what);
    }
    output.drop_last_if_empty();
  }
  output.names_matter = input->names_matter;
  if (Status status = drop_and_merge_names(output, false); !status) {
    return std::unexpected(std::move(status).error());
  }
  return output;
}

}  // namespace

Result<Block> histogram_quantile(Evaluator& evaluator, const Call& call) {
  const auto q = evaluator.evaluate(*call.arguments[0]);
  if (!q) return q;
  evaluator.check_quantiles(*q, *call.arguments[0]);
  return of_histograms(evaluator, *call.arguments[1],
                       [&](std::size_t step, std::vector<Bucket>& buckets, bool& raised) {
                         return bucket_quantile(q->cells[step], buckets, raised);
                       });
}

Result<Block> histogram_quantiles(Evaluator& evaluator, const Call& call) {
  const std::string& label = std::get<StringLiteral>(without_parens(*call.arguments[1]).kind).value;
  if (label.empty()) {
    return fail(Errc::kConflict, "invalid label name in histogram_quantiles(): \"\"");
  }
  Block all(evaluator.steps().count);
  for (std::size_t argument = 2; argument < call.arguments.size(); ++argument) {
    const auto q = evaluator.evaluate(*call.arguments[argument]);
    if (!q) return q;
    evaluator.check_quantiles(*q, *call.arguments[argument]);
    auto some = of_histograms(evaluator, *call.arguments[0],
                              [&](std::size_t step, std::vector<Bucket>& buckets, bool& raised) {
                                return bucket_quantile(q->cells[step], buckets, raised);
                              });
    if (!some) return some;
    for (std::size_t r = 0; r < some->rows.size(); ++r) {
      const Labels labels = labels_of(some->rows[r]);
      // A quantile that changes from step to step is another series each time.
      for (std::size_t i = 0; i < some->steps;) {
        std::size_t end = i;
        while (end < some->steps && q->cells[end] == q->cells[i]) ++end;
        if (end == i) ++end;  // NaN
        auto made = evaluator.keep_made(labels.with(label, fixed_text(q->cells[i])));
        if (!made) return propagate(std::move(made));
        const auto cells = all.add({*made, false});
        std::ranges::copy(some->row(r).subspan(i, end - i),
                          cells.begin() + static_cast<std::ptrdiff_t>(i));
        all.drop_last_if_empty();
        i = end;
      }
    }
  }
  if (Status status = merge_equal_rows(all, false); !status) {
    return std::unexpected(std::move(status).error());
  }
  return all;
}

Result<Block> histogram_fraction(Evaluator& evaluator, const Call& call) {
  const auto lower = evaluator.evaluate(*call.arguments[0]);
  if (!lower) return lower;
  const auto upper = evaluator.evaluate(*call.arguments[1]);
  if (!upper) return upper;
  return of_histograms(evaluator, *call.arguments[2],
                       [&](std::size_t step, std::vector<Bucket>& buckets, bool&) {
                         return bucket_fraction(lower->cells[step], upper->cells[step], buckets);
                       });
}

}  // namespace nexus::knowledge::promql

// Queries and what they give.
#include <fmt/format.h>

#include <algorithm>

#include "analyze/templates/bodies.hpp"

namespace nexus::analyze::templates {
namespace {

Result<SamplePtr> sample_of(const Value& value) {
  if (const auto* sample = value.as<SamplePtr>(); sample != nullptr && *sample != nullptr)
    return *sample;
  return wrong_type("*template.sample", value);
}

Result<Samples> samples_of(const Value& value) {
  if (const auto* samples = value.as<Samples>()) return *samples;
  return wrong_type("template.queryResult", value);
}

}  // namespace

Result<Value> query(const Data& data, Span a) {
  const auto expr = text_of(a[0]);
  if (!expr) return std::unexpected(expr.error());
  if (!data.query) return fail(Errc::kUnsupported, "query: there is nothing to ask here");
  const auto vector = data.query(*expr);
  if (!vector) return std::unexpected(vector.error());
  Samples out;
  for (const auto& element : *vector) {
    auto sample = std::make_shared<QueriedSample>();
    for (const auto& label : element.labels) sample->labels.emplace(label.name, label.value);
    sample->value = element.value;
    out.push_back(std::move(sample));
  }
  return Value{std::move(out)};
}

Result<Value> first(const Data&, Span a) {
  const auto samples = samples_of(a[0]);
  if (!samples) return std::unexpected(samples.error());
  if (samples->empty())
    return fail(Errc::kInvalidArgument, "first() called on vector with no elements");
  return Value{samples->front()};
}

Result<Value> label(const Data&, Span a) {
  const auto name = text_of(a[0]);
  const auto sample = sample_of(a[1]);
  if (!name) return std::unexpected(name.error());
  if (!sample) return std::unexpected(sample.error());
  const auto found = (*sample)->labels.find(*name);
  return text(found == (*sample)->labels.end() ? "" : found->second);
}

Result<Value> value(const Data&, Span a) {
  const auto sample = sample_of(a[0]);
  if (!sample) return std::unexpected(sample.error());
  return Value{(*sample)->value};
}

Result<Value> string_value(const Data&, Span a) {
  const auto sample = sample_of(a[0]);
  if (!sample) return std::unexpected(sample.error());
  const auto found = (*sample)->labels.find("__value__");
  return text(found == (*sample)->labels.end() ? "" : found->second);
}

Result<Value> sort_by_label(const Data&, Span a) {
  const auto name = text_of(a[0]);
  auto samples = samples_of(a[1]);
  if (!name) return std::unexpected(name.error());
  if (!samples) return std::unexpected(samples.error());
  std::ranges::stable_sort(*samples, {}, [&](const SamplePtr& sample) {
    const auto found = sample->labels.find(*name);
    return found == sample->labels.end() ? std::string_view() : std::string_view(found->second);
  });
  return Value{std::move(*samples)};
}

Result<Value> arguments(const Data&, Span a) {
  auto out = std::make_shared<Arguments>();
  for (std::size_t i = 0; i < a.size(); ++i) out->emplace(fmt::format("arg{}", i), a[i]);
  return Value{std::shared_ptr<const Arguments>(std::move(out))};
}

}  // namespace nexus::analyze::templates

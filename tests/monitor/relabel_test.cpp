// What Prometheus does with the same steps (its relabel package and documentation) is written out
// here; tests/agent/sources.py compares with a running Prometheus.
#include "monitor/scrape/relabel.hpp"

#include <catch2/catch.hpp>

#include "nexus/knowledge/labels.hpp"

using namespace nexus;
using namespace nexus::monitor;
using config::RelabelConfig;

namespace {

std::string relabel(std::vector<RelabelConfig> steps, LabelList labels) {
  const auto compiled = Relabeling::compile(steps).value();
  return compiled.apply(labels) ? knowledge::to_string(knowledge::Labels(labels)) : "dropped";
}

const LabelList kLabels = {{"__name__", "m"}, {"a", "foo"}, {"b", "bar"}, {"c", "baz"}};

}  // namespace

TEST_CASE(
    "relabelling: replace writes what matched, an empty result removes, no match changes nothing") {
  CHECK(relabel({{.source_labels = {"a", "b"},
                  .separator = "-",
                  .target_label = "d",
                  .regex = "(f.*)-(?P<two>.*)",
                  .replacement = "${2}.$1-$two-$$-$nope"}},
                kLabels) == "m{a=\"foo\",b=\"bar\",c=\"baz\",d=\"bar.foo-bar-$-\"}");
  CHECK(relabel({{.source_labels = {"a"}, .target_label = "b", .regex = "fo"}}, kLabels) ==
        "m{a=\"foo\",b=\"bar\",c=\"baz\"}");
  CHECK(relabel({{.source_labels = {"a"}, .target_label = "b", .replacement = ""}}, kLabels) ==
        "m{a=\"foo\",c=\"baz\"}");
  CHECK(relabel({{.source_labels = {"a"},
                  .target_label = "x_${1}",
                  .regex = "(.)oo",
                  .replacement = "y"}},
                kLabels) == "m{a=\"foo\",b=\"bar\",c=\"baz\",x_f=\"y\"}");
  CHECK(relabel({{.source_labels = {"a"}, .target_label = "d", .replacement = "$1x"}}, kLabels) ==
        "m{a=\"foo\",b=\"bar\",c=\"baz\"}");  // $1x is a group of that name
}

TEST_CASE("relabelling: keep, drop, keepequal, dropequal") {
  CHECK(relabel({{.source_labels = {"a"}, .regex = "fo.", .action = "keep"}}, kLabels) !=
        "dropped");
  CHECK(relabel({{.source_labels = {"a"}, .regex = "fo", .action = "keep"}}, kLabels) == "dropped");
  CHECK(relabel({{.source_labels = {"a"}, .regex = "foo|x", .action = "drop"}}, kLabels) ==
        "dropped");
  CHECK(relabel({{.source_labels = {"none"}, .regex = "", .action = "drop"}}, kLabels) ==
        "dropped");
  CHECK(relabel({{.source_labels = {"a"}, .target_label = "b", .action = "keepequal"}}, kLabels) ==
        "dropped");
  CHECK(relabel({{.source_labels = {"a"}, .target_label = "b", .action = "dropequal"}}, kLabels) !=
        "dropped");
  CHECK(relabel({{.source_labels = {"a"}, .target_label = "a", .action = "dropequal"}}, kLabels) ==
        "dropped");
}

TEST_CASE("relabelling: labelmap, labeldrop, labelkeep, hashmod, lowercase, uppercase") {
  CHECK(relabel({{.regex = "(b|c)", .replacement = "copy_$1", .action = "labelmap"}}, kLabels) ==
        "m{a=\"foo\",b=\"bar\",c=\"baz\",copy_b=\"bar\",copy_c=\"baz\"}");
  CHECK(relabel({{.regex = "a|b", .action = "labeldrop"}}, kLabels) == "m{c=\"baz\"}");
  CHECK(relabel({{.regex = "__name__|b", .action = "labelkeep"}}, kLabels) == "m{b=\"bar\"}");
  CHECK(
      relabel({{.source_labels = {"c"}, .target_label = "d", .modulus = 1000, .action = "hashmod"}},
              {{"__name__", "m"}, {"c", "baz"}}) == "m{c=\"baz\",d=\"976\"}");
  CHECK(relabel({{.source_labels = {"a", "b"}, .target_label = "d", .action = "uppercase"},
                 {.source_labels = {"d"}, .target_label = "e", .action = "lowercase"}},
                kLabels) == "m{a=\"foo\",b=\"bar\",c=\"baz\",d=\"FOO;BAR\",e=\"foo;bar\"}");
}

TEST_CASE("relabelling: a pattern that is none is refused") {
  const auto compiled = Relabeling::compile({{.regex = "("}});
  REQUIRE_FALSE(compiled);
  CHECK(compiled.error().message() == "regex: \"(\": missing ): ^(?s:()$");
}

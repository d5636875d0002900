// Names beyond letters, digits, _ and :, in expositions and where only plain names are understood.
// The escaped forms are those of the examples in Prometheus's documentation of its schemes.
#include "nexus/knowledge/names.hpp"

#include <catch2/catch.hpp>

#include "nexus/knowledge/exposition.hpp"

using namespace nexus;
using namespace nexus::knowledge;

TEST_CASE("names: what needs no quotes") {
  CHECK(is_legacy_metric_name("node:cpu_1"));
  CHECK_FALSE(is_legacy_label_name("node:cpu_1"));
  CHECK_FALSE(is_legacy_metric_name("1a"));
  CHECK_FALSE(is_legacy_metric_name(""));
  CHECK_FALSE(is_legacy_metric_name("a.b"));
  CHECK_FALSE(is_legacy_metric_name("größe"));
}

TEST_CASE("names: the escaping schemes") {
  struct Case {
    std::string_view name, underscores, dots, values;
  };
  for (const Case& c :
       {Case{"no:escaping_required", "no:escaping_required", "no:escaping__required",
             "no:escaping_required"},
        Case{"http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2E_status:sum"},
        Case{"label with 😱", "label_with__", "label__with____", "U__label_20_with_20__1F631_"},
        Case{"my.metric_x", "my_metric_x", "my_dot_metric__x", "U__my_2E_metric__x"},
        Case{"1a", "_a", "__a", "U___31_a"}}) {
    INFO(c.name);
    CHECK(escape_name(c.name, NameEscaping::kAllowUtf8) == c.name);
    CHECK(escape_name(c.name, NameEscaping::kUnderscores) == c.underscores);
    CHECK(escape_name(c.name, NameEscaping::kDots) == c.dots);
    CHECK(escape_name(c.name, NameEscaping::kValues) == c.values);
    if (c.values.starts_with("U__")) {
      CHECK(unescape_name(c.values) == c.name);
    } else {
      CHECK_FALSE(unescape_name(c.values));
    }
  }
  for (const char* bad :
       {"U", "U_", "a", "U__a_", "U__a_2E", "U___zz_", "U___D800_", "U___110000_"})
    CHECK_FALSE(unescape_name(bad));
  CHECK(unescape_name("U__") == "");
}

TEST_CASE("names: a page with names in quotes, and what becomes of it where there are none") {
  SeriesRegistry registry(100);
  const auto requests = registry.family("http.requests", MetricType::kCounter, "All \"requests\".");
  const std::vector<LabelView> labels = {{"service.name", "a\"b"}, {"zone", "x=\"y\",z}"}};
  const auto plain = registry.family("up", MetricType::kGauge, "Up.");
  std::vector<ExposedSample> samples = {{*registry.intern(requests, labels), 3},
                                        {*registry.intern(requests, {}), 4},
                                        {*registry.intern(plain, {}), 1}};
  Exposition exposition(registry);
  const std::string page = exposition.render(samples);
  CHECK(page ==
        "# HELP \"http.requests\" All \"requests\".\n"
        "# TYPE \"http.requests\" counter\n"
        "{\"http.requests\"} 4\n"
        "{\"http.requests\",\"service.name\"=\"a\\\"b\",zone=\"x=\\\"y\\\",z}\"} 3\n"
        "# HELP up Up.\n"
        "# TYPE up gauge\n"
        "up 1\n");
  CHECK(escape_names(page, NameEscaping::kUnderscores) ==
        "# HELP http_requests All \"requests\".\n"
        "# TYPE http_requests counter\n"
        "http_requests 4\n"
        "http_requests{service_name=\"a\\\"b\",zone=\"x=\\\"y\\\",z}\"} 3\n"
        "# HELP up Up.\n"
        "# TYPE up gauge\n"
        "up 1\n");
  CHECK(escape_names("{\"a_b\"} 1\n", NameEscaping::kDots) == "a__b 1\n");
}

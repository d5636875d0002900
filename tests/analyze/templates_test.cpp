// The expected texts are those of promtool 2.42 for the same templates (tests/agent/rules.py
// compares more of them side by side).
#include <catch2/catch.hpp>

#include "analyze/templates/template.hpp"
#include "nexus/knowledge/labels.hpp"

using namespace nexus;
using namespace nexus::analyze;

namespace {

TemplateData data() {
  TemplateData out;
  out.labels = {{"__name__", "v"}, {"i", "a"}};
  out.external_labels = {{"region", "eu"}};
  out.external_url = "http://prom.example:9090/pre";
  out.value = 7;
  out.time = base::from_unix_millis(60'000);
  out.query = [](std::string_view expression) -> Result<knowledge::promql::Vector> {
    if (expression == "nosuch") return knowledge::promql::Vector();
    if (expression != "v") return fail(Errc::kInvalidArgument, "1:1: parse error: no");
    return knowledge::promql::Vector{{knowledge::Labels("v", {{"i", "b"}}), 60'000, 3},
                                     {knowledge::Labels("v", {{"i", "a"}}), 60'000, 7}};
  };
  return out;
}

std::string expand(std::string_view text) {
  const auto parsed = Template::parse(text, "__alert_T");
  if (!parsed) return "PARSE " + parsed.error().message();
  auto out = parsed->expand(data());
  return out ? *out : "ERROR " + out.error().message();
}

}  // namespace

TEST_CASE("templates: values, labels and texts") {
  CHECK(expand("") == "");
  CHECK(expand("plain } { text") == "plain } { text");
  CHECK(expand("{{ $value }}{{$value}}") == "77");
  CHECK(expand("{{ $labels.i }} {{ .Labels.i }} <{{ $labels.none }}>") == "a a <>");
  CHECK(expand("{{ $externalLabels.region }} {{ $externalURL }} {{ pathPrefix }}") ==
        "eu http://prom.example:9090/pre /pre");
  CHECK(expand("{{- /* c */ -}} x {{- ` raw ` -}} y {{ $x := 5 }}{{ $x }}{{ $x = 6 }}{{ $x }}") ==
        "x raw y 56");
  CHECK(expand("{{ 1e6 }} {{ 999999.0 }} {{ 123456789.0 }} {{ 0.00001 }} {{ 0x1F }} {{ -3 }}") ==
        "1e+06 999999 1.23456789e+08 1e-05 31 -3");
  CHECK(expand(R"({{ "a\tb\"\u00e9" }})") == "a\tb\"é");
  CHECK(expand("{{ $labels }} {{ range $k, $v := $labels }}{{ $k }}:{{ $v }},{{ end }}") ==
        "map[__name__:v i:a] __name__:v,i:a,");
}

TEST_CASE("templates: decisions and ranges") {
  CHECK(expand("{{ if gt $value 5.0 }}high{{ else }}low{{ end }}") == "high");
  CHECK(expand("{{ if false }}a{{ else if eq $labels.i \"a\" }}b{{ else }}c{{ end }}") == "b");
  CHECK(expand("{{ with query \"v\" }}{{ . | first | value }}{{ else }}none{{ end }}") == "3");
  CHECK(expand("{{ with query \"nosuch\" }}x{{ else }}none{{ end }}") == "none");
  CHECK(expand("{{ range query \"v\" }}{{ .Labels.i }}={{ .Value }};{{ end }}") == "b=3;a=7;");
  CHECK(expand("{{ range $i, $s := sortByLabel \"i\" (query \"v\") }}{{ if $i }},{{ end }}{{ $i }}"
               "{{ $s.Value }}{{ end }}") == "07,13");
  CHECK(expand("{{ range query \"v\" }}{{ if eq .Labels.i \"a\" }}{{ break }}{{ end }}{{ .Labels.i "
               "}}{{ end }}") == "b");
  CHECK(expand("{{ range query \"v\" }}{{ if eq .Labels.i \"b\" }}{{ continue }}{{ end }}{{ "
               ".Labels.i }}{{ end }}") == "a");
  CHECK(expand("{{ and true false }} {{ or 0 \"z\" }} {{ not true }} {{ len $labels }}") ==
        "false z false 2");
  CHECK(expand("{{ (query \"v\" | first).Value }} {{ (index (query \"v\") 1).Labels.i }}") ==
        "3 a");
  CHECK(expand("{{ lt 1 2 }} {{ le 2 2 }} {{ ne \"a\" \"b\" }} {{ ge 1.5 1.5 }} {{ eq \"a\" \"b\" "
               "\"a\" }}") == "true true true true true");
}

TEST_CASE("templates: numbers for people") {
  CHECK(expand("{{ humanize 0.0 }} {{ humanize 0.00123 }} {{ humanize 1234567.0 }} {{ humanize "
               "\"12345\" }}") == "0 1.23m 1.235M 12.35k");
  CHECK(expand("{{ humanize1024 2048.0 }} {{ humanizePercentage 0.12345 }}") == "2ki 12.35%");
  CHECK(expand("{{ humanizeDuration 3723.5 }} {{ humanizeDuration 0.005 }} {{ humanizeDuration "
               "90061.0 }} {{ humanizeDuration 59.123456 }} {{ humanizeDuration -70.0 }}") ==
        "1h 2m 3s 5ms 1d 1h 1m 1s 59.12s -1m 10s");
  CHECK(expand("{{ humanizeTimestamp 1435065584.128 }}") == "2015-06-23 13:19:44.128 +0000 UTC");
  CHECK(expand("{{ printf \"%.2f|%5.1f|%d|%s|%q|%v|%e|%08.3f|%+d|%x\" $value $value 5 \"s\" \"q\" "
               "$value $value $value 7 255 }}") ==
        "7.00|  7.0|5|s|\"q\"|7|7.000000e+00|0007.000|+7|ff");
  CHECK(expand("{{ printf \"%s %d\" $value }} {{ printf \"%d\" \"x\" }} {{ printf "
               "\"%5s|%-5s|%t\" \"a\" \"b\" true }} {{ printf \"100%%\" }} {{ printf \"x\" 1 }}") ==
        "%!s(float64=7) %!d(MISSING) %!d(string=x)     a|b    |true 100% x%!(EXTRA int=1)");
}

TEST_CASE("templates: texts") {
  CHECK(expand("{{ $labels.i | toUpper }} {{ title \"hello world\" }} {{ toLower \"ABC\" }}") ==
        "A Hello World abc");
  CHECK(
      expand("{{ reReplaceAll \"(a)(b)\" \"$2-${1}x\" \"cabd\" }} {{ match \"a.c\" \"xabcx\" }}") ==
      "cb-axd true");
  CHECK(expand("{{ reReplaceAll \"[\" \"\" \"x\" }}").starts_with("ERROR "));
  CHECK(expand("{{ html \"<a&b>\" }}|{{ urlquery \"a b&c\" }} {{ print 1 2 \"a\" 3 }}") ==
        "&lt;a&amp;b&gt;|a+b%26c 1 2a3");
  CHECK(expand("{{ stripPort \"host:9100\" }} {{ stripPort \"[::1]:80\" }} {{ stripDomain "
               "\"a.b.c:80\" }} {{ stripDomain \"10.0.0.1:80\" }}") == "host ::1 a:80 10.0.0.1:80");
  CHECK(expand("{{ safeHtml \"<b>\" }} {{ graphLink \"up == 1\" }}") ==
        "<b> /graph?g0.expr=up+%3D%3D+1&g0.tab=0");
}

TEST_CASE("templates: Go's functions for parts, and for JavaScript") {
  CHECK(expand(R"({{ slice "abcdef" 1 3 }} {{ slice "abc" 1 }} {{ slice "abc" }})") == "bc bc abc");
  CHECK(expand(R"({{ range slice (query "v") 1 }}{{ .Labels.i }}{{ end }})") == "a");
  CHECK(expand(R"({{ slice "abc" 2 1 }})").contains("invalid slice index: 2 > 1"));
  CHECK(expand(R"({{ slice "abc" 4 }})").contains("index out of range: 4"));
  CHECK(expand(R"({{ slice 5 1 }})").contains("can't slice item of type int"));
  CHECK(expand(R"({{ index (args 1 "x") "arg1" }} {{ index "abc" 1 }})") == "x 98");
  CHECK(expand(R"({{ js "a\"b'c\\d<>&=\n" }})") == R"(a\"b\'c\\d\u003C\u003E\u0026\u003D\u000A)");
}

TEST_CASE("templates: seconds as Go's durations, as Prometheus 3 has them") {
  CHECK(expand("{{ toDuration 3723.5 }} {{ toDuration -60 }} {{ toDuration \"1\" }}") ==
        "1h2m3.5s -1m0s 1s");
  CHECK(expand("{{ toDuration 0 }} {{ toDuration 0.0015 }} {{ toDuration 0.00000025 }}") ==
        "0s 1.5ms 250ns");
  CHECK(expand("{{ toDuration 1e10 }}").contains("cannot be represented"));
}

TEST_CASE("templates: mistakes are told when they are read, with their line") {
  CHECK(expand("{{ $foo }}") == "PARSE template: __alert_T:1: undefined variable \"$foo\"");
  CHECK(expand("a\n{{ nofunc 1 }}") ==
        "PARSE template: __alert_T:2: function \"nofunc\" not defined");
  CHECK(expand("{{ if }}") == "PARSE template: __alert_T:1: missing value for if");
  CHECK(expand("{{ if true }}x") == "PARSE template: __alert_T:1: unexpected EOF");
  CHECK(expand("{{ end }}") == "PARSE template: __alert_T:1: unexpected {{end}}");
  CHECK(expand("{{ $value") == "PARSE template: __alert_T:1: unclosed action");
  CHECK(expand("{{ \"x }}").starts_with("PARSE template: __alert_T:1: unterminated"));
  CHECK(expand("{{ if true }}{{ define \"x\" }}{{ end }}{{ end }}") ==
        "PARSE template: __alert_T:1: unexpected <define> in command");
  CHECK(expand("{{ define x }}{{ end }}") ==
        "PARSE template: __alert_T:1: unexpected \"x\" in define clause");
  CHECK(expand("{{ define \"x\" }}").ends_with("unexpected EOF"));
  CHECK(expand("{{ define \"x\" }}{{ $labels }}{{ end }}") ==
        "PARSE template: __alert_T:1: undefined variable \"$labels\"");
  CHECK(expand("{{ break }}") == "PARSE template: __alert_T:1: {{break}} outside {{range}}");
}

TEST_CASE("templates: what goes wrong while they run is an error, and ends") {
  CHECK(expand("{{ .Foo }}").contains("can't evaluate field Foo"));
  CHECK(expand("{{ query \"nosuch\" | first }}")
            .contains("error calling first: first() called on vector with no elements"));
  CHECK(expand("{{ query \"(\" }}").contains("error calling query: 1:1: parse error"));
  CHECK(expand("{{ humanize \"x\" }}").contains("strconv.ParseFloat"));
  CHECK(expand("{{ index (query \"v\") 9 }}").contains("index out of range: 9"));
  CHECK(expand("{{ len }}").contains("wrong number of args for len: want 1 got 0"));
  std::string deep;
  std::string ends;
  for (int i = 0; i < 18; ++i) {
    deep += "{{ range $labels }}";
    ends += "{{ end }}";
  }
  CHECK(expand(deep + "x" + ends).contains("more than 100000 steps"));
  CHECK(Template::parse(deep + "{{ $foo }}" + ends, "t").error().message() ==
        "template: t:1: undefined variable \"$foo\"");
}

TEST_CASE("templates: a text that grows by itself ends") {
  CHECK(
      expand(
          R"({{ define "r" }}{{ template "r" (print . .) }}{{ end }}{{ template "r" "aaaaaaaa" }})")
          .contains("a text is longer than 65536 bytes"));
  std::string text = R"({{ $x := "a" }})";
  for (int i = 0; i < 40; ++i) text += R"({{ $x = printf "%s%s" $x $x }})";
  CHECK(expand(text).contains("a text is longer than 65536 bytes"));
  // Shared, it takes no memory until somebody shows it.
  text = R"({{ $x := args "a" "b" }})";
  for (int i = 0; i < 40; ++i) text += R"({{ $x = args $x $x }})";
  CHECK(expand(text + "{{ len (print $x) }}").contains("a text is longer than 65536 bytes"));
  text = R"({{ $x := args "a" }})";
  for (int i = 0; i < 1000; ++i) text += R"({{ $x = args $x }})";
  CHECK(expand(text).contains("a text is longer than 65536 bytes"));
  CHECK(expand(R"({{ args (args 1 "a") "b" }})") == "map[arg0:map[arg0:1 arg1:a] arg1:b]");
}

TEST_CASE("templates: named templates, each with a world of its own") {
  CHECK(expand(R"({{ define "x" }}<{{ . }}>{{ end }}{{ template "x" $value }}|{{ template "x" }}|)"
               R"({{ template "x" .Labels }})") == "<7>|<<no value>>|<map[__name__:v i:a]>");
  CHECK(expand(R"({{ block "b" $labels.i }}[{{ . }}]{{ end }}{{ template "b" "q" }})") == "[a][q]");
  CHECK(expand(R"({{ define "x" }}{{ $ }}{{ end }}{{ template "x" 5 }})") == "5");
  CHECK(expand(R"({{ define "x" }} {{ end }}{{ define "x" }}b{{ end }}{{ template "x" }})") == "b");
  CHECK(expand(R"({{ define "x" }}a{{ end }}{{ define "x" }}b{{ end }})") ==
        "PARSE template: __alert_T:1: template: multiple definition of template \"x\"");
  CHECK(expand(R"({{ block "b" }}x{{ end }})") ==
        "PARSE template: __alert_T:1: missing value for block clause");
  CHECK(expand(R"({{ define "x" }}{{ else }}{{ end }})") ==
        "PARSE template: __alert_T:1: unexpected {{else}} in define clause");
  CHECK(expand(R"({{ range query "v" }}{{ define "x" }}{{ end }}{{ end }})") ==
        "PARSE template: __alert_T:1: unexpected <define> in command");
  CHECK(expand(R"({{ define "x" }}{{ break }}{{ end }})") ==
        "PARSE template: __alert_T:1: {{break}} outside {{range}}");
  CHECK(expand(R"({{ template "y" }})").ends_with("template \"y\" not defined"));
  CHECK(expand(R"({{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" 1 }})")
            .find("exceeded maximum template depth") != std::string::npos);
}

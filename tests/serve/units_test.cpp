// The parts that need no socket: routing, targets, credentials, content negotiation, JSON of
// errors.
#include <zlib.h>
#include <zstd.h>

#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>

#include "nexus/serve/auth.hpp"
#include "nexus/serve/http.hpp"
#include "serve/encoding.hpp"
#include "serve/target.hpp"

using namespace nexus;
using namespace nexus::serve;

namespace {

Route route(Method method, std::string pattern) {
  return {method,
          pattern,
          config::Role::kNone,
          Runs::kSnapshot,
          [](const Request&) { return Response(); },
          "what it is for"};
}

std::string gunzip(const std::string& bytes) {
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
  std::string out(1U << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

std::string unzstd(const std::string& bytes) {
  std::string out(1U << 20, '\0');
  const auto size = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
  REQUIRE(ZSTD_isError(size) == 0);
  out.resize(size);
  return out;
}

}  // namespace

TEST_CASE("the router prefers exact paths, captures parts, and knows the methods of a path") {
  const Router router({route(Method::kGet, "/a/{x}"), route(Method::kPost, "/a/{x}"),
                       route(Method::kGet, "/a/exact"), route(Method::kPost, "/a/{x}/b/{y}"),
                       route(Method::kGet, "/")});
  auto match = router.match(Method::kGet, "/a/exact");
  REQUIRE(match.route != nullptr);
  CHECK(match.route->pattern == "/a/exact");
  match = router.match(Method::kPost, "/a/7");
  REQUIRE(match.route != nullptr);
  CHECK(match.route->method == Method::kPost);
  CHECK(match.captures == std::vector<std::string>{"7"});
  match = router.match(Method::kPost, "/a/7/b/8");
  CHECK(match.captures == std::vector<std::string>{"7", "8"});
  CHECK(router.match(Method::kHead, "/").route != nullptr);
  match = router.match(Method::kDelete, "/a/7");
  CHECK(match.route == nullptr);
  CHECK(match.allowed == std::vector<Method>{Method::kGet, Method::kHead, Method::kPost});
  for (const auto* none : {"", "/a", "/a/", "/a//", "/a/7/", "/a/7/b", "/a/7/b/", "/a/7/b/8/",
                           "/a//b/8", "a/7", "/A/exact"}) {
    INFO(none);
    CHECK(router.match(Method::kGet, none).allowed.empty());
  }
}

TEST_CASE("targets are taken apart and decoded, once") {
  const auto target = parse_target("/a%20b/%E2%82%AC?x=1&y=a+b%2B%26&flag&=v&x=2&");
  REQUIRE(target);
  CHECK(target->path == "/a b/\u20ac");
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  CHECK(target->query == Pairs{{"x", "1"}, {"y", "a b+&"}, {"flag", ""}, {"", "v"}, {"x", "2"}});
  CHECK(parse_target("/%2525")->path == "/%25");
  CHECK(parse_target("/a+b")->path == "/a+b");
  for (const std::string bad : {"", "a", "*", "http://h/", "/%", "/%1", "/%1g", "/%-1", "/%+1",
                                "/% 1", "/%00", "/%0A", "/%80", "/#", "/?%", "/?a=%f", "/?%ff"}) {
    INFO(bad);
    CHECK_FALSE(parse_target(bad));
  }
}

TEST_CASE("the number of parameters is bounded") {
  std::string form;
  for (std::size_t i = 0; i < kMaxParameters; ++i) form += "a=1&";
  CHECK(parse_form(form)->size() == kMaxParameters);
  CHECK_FALSE(parse_form(form + "b=2"));
}

TEST_CASE("who somebody is") {
  config::AuthSection section;
  section.anonymous_role = config::Role::kViewer;
  section.tokens = {{"ci", config::Role::kOperator, config::Secret("0123456789abcdef")}};
  const Authenticator authenticator(section);
  const Peer remote{.local = false, .uid = 0, .pid = 0, .address = "127.0.0.1:5"};
  const auto anonymous = authenticator.identify(remote, "");
  REQUIRE(anonymous);
  CHECK(anonymous->role == config::Role::kViewer);
  CHECK(anonymous->who == "anonymous");
  CHECK_FALSE(anonymous->authenticated);
  const auto token = authenticator.identify(remote, "bEARER 0123456789abcdef");
  REQUIRE(token);
  CHECK(token->role == config::Role::kOperator);
  CHECK(token->who == "token ci");
  CHECK(token->from == "127.0.0.1:5");
  for (const auto* wrong : {"Bearer 0123456789abcdeF", "Bearer 0123456789abcdef ", "Bearer",
                            "Bearer ", "Basic x", "0123456789abcdef", "Bearer0123456789abcdef"}) {
    CHECK_FALSE(authenticator.identify(remote, wrong));
  }
  const auto root = authenticator.identify({.local = true, .uid = 0, .pid = 9, .address = ""}, "");
  CHECK(root->role == config::Role::kAdministrator);
  CHECK(root->who == "root (uid 0)");
  CHECK(root->from == "unix:pid 9");
  const auto other =
      authenticator.identify({.local = true, .uid = 54321, .pid = 9, .address = ""}, "");
  CHECK(other->role == config::Role::kViewer);
  CHECK(other->who == "uid 54321");
  CHECK(other->authenticated);
}

TEST_CASE("an empty token opens nothing") {
  config::AuthSection section;
  section.tokens = {{"ci", config::Role::kOperator, config::Secret("0123456789abcdef")}};
  CHECK_FALSE(Authenticator(section).identify({}, "Bearer "));
  CHECK_FALSE(Authenticator(config::AuthSection()).identify({}, "Bearer x"));
}

TEST_CASE("the best coding that is accepted") {
  CHECK(choose_coding("") == Coding::kIdentity);
  CHECK(choose_coding("gzip") == Coding::kGzip);
  CHECK(choose_coding("gzip, deflate, br, zstd") == Coding::kZstd);
  CHECK(choose_coding("gzip;q=1.0, zstd;q=0.5") == Coding::kGzip);
  CHECK(choose_coding("gzip;q=0") == Coding::kIdentity);
  CHECK(choose_coding("*") == Coding::kZstd);
  CHECK(choose_coding("*, zstd;q=0") == Coding::kGzip);
  CHECK(choose_coding("GZIP") == Coding::kGzip);
  CHECK(choose_coding("br") == Coding::kIdentity);
  CHECK(choose_coding(",;q=,;;") == Coding::kIdentity);
}

TEST_CASE("what is packed comes back") {
  for (const std::string& text : {std::string(), std::string("x"), std::string(500'000, 'y')}) {
    CHECK(gunzip(compress(text, Coding::kGzip)) == text);
    CHECK(unzstd(compress(text, Coding::kZstd)) == text);
    CHECK(compress(text, Coding::kIdentity) == text);
  }
}

TEST_CASE("OpenMetrics for those that want it more") {
  CHECK_FALSE(wants_open_metrics(""));
  CHECK_FALSE(wants_open_metrics("*/*"));
  CHECK_FALSE(wants_open_metrics("text/plain"));
  CHECK(wants_open_metrics("application/openmetrics-text"));
  CHECK(
      wants_open_metrics("application/openmetrics-text;version=1.0.0;q=0.5,application/"
                         "openmetrics-text;version=0.0.1;q=0.4,"
                         "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"));
  CHECK_FALSE(wants_open_metrics("application/openmetrics-text;q=0.2, text/plain"));
  CHECK_FALSE(wants_open_metrics("application/openmetrics-text;q=0"));
}

TEST_CASE("text format as OpenMetrics") {
  CHECK(to_open_metrics("# HELP a_total Help.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n# HELP "
                        "b B.\n# TYPE b counter\nb 1\n"
                        "# TYPE c gauge\nc 3\n# HELP d D.\n# TYPE d untyped\nd 4\n") ==
        "# HELP a Help.\n# TYPE a counter\na_total{x=\"1\"} 2\n# HELP b B.\n# TYPE b unknown\nb 1\n"
        "# TYPE c gauge\nc 3\n# HELP d D.\n# TYPE d unknown\nd 4\n# EOF\n");
  CHECK(to_open_metrics("") == "# EOF\n");
}

TEST_CASE("errors are JSON with the status that fits") {
  const auto response = error(Error(Errc::kNotFound, "no \"x\"\n"));
  CHECK(response.status == 404);
  const auto body = boost::json::parse(*response.body);
  CHECK(body.at("error").at("message") == "no \"x\"\n");
  CHECK(body.at("error").at("code").is_string());
  CHECK(error(Error(Errc::kInvalidArgument, "")).status == 400);
  CHECK(error(Error(Errc::kConflict, "")).status == 409);
  CHECK(error(Error(Errc::kExhausted, "")).status == 429);
  CHECK(error(Error(Errc::kUnavailable, "")).status == 503);
  CHECK(error(Error(Errc::kTimeout, "")).status == 504);
  CHECK(error(Error(Errc::kInternal, "")).status == 500);
}

TEST_CASE("media types are compared without parameters and case") {
  CHECK(is_media_type("application/json", "application/json"));
  CHECK(is_media_type("Application/JSON ; charset=utf-8", "application/json"));
  CHECK_FALSE(is_media_type("application/jsonx", "application/json"));
  CHECK_FALSE(is_media_type("", "application/json"));
}

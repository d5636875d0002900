#include "agent/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/host/file.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

void print_json(const json::value& value) {
  fmt::print("{}\n", json::serialize(value));
}

std::string joined(const json::value& value) {
  std::string out;
  if (const auto* object = value.if_object()) {
    for (const auto& [key, item] : *object) {
      out += fmt::format("{}{}={}", out.empty() ? "" : ",", std::string_view(key), to_cell(item));
    }
  } else if (const auto* array = value.if_array()) {
    for (const auto& item : *array) out += (out.empty() ? "" : ",") + to_cell(item);
  }
  return out.empty() ? "-" : out;
}

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kDefaultSocket = "/run/nexus-agent/agent.sock";

}  // namespace

std::string find_socket(const config::LoadOptions& options) {
  const auto loaded = config::load(options);
  const auto addresses = host::read_file(loaded.config.agent.data_dir + "/addresses").value_or("");
  for (std::string_view rest = addresses; !rest.empty();) {
    const auto line = base::take_until(rest, '\n');
    if (line.starts_with(kUnix)) return std::string(line.substr(kUnix.size()));
  }
  for (const auto& listen : loaded.config.http.listen) {
    if (listen.starts_with(kUnix)) return listen.substr(kUnix.size());
  }
  return std::string(kDefaultSocket);
}

std::string socket_of(const ClientFlags& flags) {
  if (!flags.socket.empty()) return flags.socket;
  config::LoadOptions options;
  options.file = flags.config;
  options.environment = config::process_environment;
  return find_socket(options);
}

Result<json::value> call(const ClientFlags& flags, std::string_view method, const std::string& path,
                         const json::value* body) {
  if (body == nullptr) return send(flags, method, path, {}, {});
  return send(flags, method, path, json::serialize(*body), "application/json");
}

Result<json::value> send(const ClientFlags& flags, std::string_view method, const std::string& path,
                         std::string body, const std::string& content_type) {
  drivers::HttpRequest request;
  request.method = method;
  request.url = "http://localhost" + path;
  request.unix_socket = socket_of(flags);
  request.body = std::move(body);
  if (!content_type.empty()) request.headers.emplace_back("Content-Type", content_type);
  auto response = drivers::http_request(request);
  if (!response)
    return propagate(std::move(response), "no answer from the agent on {}", request.unix_socket);
  boost::system::error_code ec;
  auto value = json::parse(response->body, ec);
  if (ec) return fail(Errc::kCorrupt, "{} {}: the agent did not answer with JSON", method, path);
  if (response->status >= 400) {
    const auto* message = find_path(value, "error.message");
    if (message == nullptr) message = find_path(value, "error");  // Prometheus's shape
    return fail(
        Errc::kConflict, "{}",
        message != nullptr ? to_cell(*message) : fmt::format("status {}", response->status));
  }
  return value;
}

const json::value* find_path(const json::value& value, std::string_view path) {
  const json::value* at = &value;
  while (!path.empty()) {
    const auto* object = at->if_object();
    if (object == nullptr) return nullptr;
    const auto key = base::take_until(path, '.');
    at = object->if_contains(key);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string to_cell(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "-";
    case json::kind::bool_:
      return value.get_bool() ? "yes" : "no";
    case json::kind::int64:
      return fmt::format("{}", value.get_int64());
    case json::kind::uint64:
      return fmt::format("{}", value.get_uint64());
    case json::kind::double_:
      return fmt::format("{:.6g}", value.get_double());
    case json::kind::string:
      return value.get_string().empty() ? "-" : std::string(value.get_string());
    case json::kind::array:
    case json::kind::object:
      return joined(value);
  }
  return "-";
}

void print_table(const ClientFlags& flags, const json::value& answer, std::string_view array,
                 const std::vector<ColumnSpec>& columns) {
  if (flags.output == "json") return print_json(answer);
  std::vector<std::vector<std::string>> rows(1);
  for (const auto& column : columns) rows[0].emplace_back(column.title);
  if (const auto* found = find_path(answer, array); found != nullptr && found->is_array()) {
    for (const auto& item : found->get_array()) {
      auto& row = rows.emplace_back();
      for (const auto& column : columns) {
        const auto* cell = find_path(item, column.path);
        row.push_back(cell == nullptr ? "-" : to_cell(*cell));
      }
    }
  }
  std::vector<std::size_t> widths(columns.size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i + 1 == row.size() ? row[i] : fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    fmt::print("{}\n", line);
  }
}

void print_object(const ClientFlags& flags, const json::value& answer,
                  const std::vector<ColumnSpec>& rows, Missing missing) {
  if (flags.output == "json") return print_json(answer);
  std::vector<std::pair<std::string_view, std::string>> lines;
  std::size_t width = 0;
  for (const auto& row : rows) {
    const auto* cell = find_path(answer, row.path);
    auto text = cell == nullptr ? "-" : to_cell(*cell);
    if (missing == Missing::kLeftOut && text == "-") continue;
    width = std::max(width, row.title.size());
    lines.emplace_back(row.title, std::move(text));
  }
  for (const auto& [title, text] : lines) fmt::print("{:<{}}  {}\n", title, width, text);
}

int report(const Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  return 1;
}

}  // namespace nexus::agent

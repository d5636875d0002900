// The command line's side of the HTTP API: talks to the running agent over its unix socket, prints
// tables or JSON.
//
// Thread safety: one thread.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/config/load.hpp"

namespace nexus::agent {

struct ClientFlags {
  std::string socket = {};  // --socket or $NEXUS_AGENT_SOCKET; empty: find_socket()
  std::string config = "/etc/nexus/agent.toml";
  std::string output = "table";  // or json
};

/// The socket of the agent that runs with this configuration: the one in its data_dir/addresses;
/// where that cannot be read, the first unix socket that it is to listen on; else the default.
/// Mistakes in the configuration are no hindrance: a reload is there to report them.
[[nodiscard]] std::string find_socket(const config::LoadOptions& options);

/// The socket that a command is to use: the flag's, or find_socket(). For commands that call often.
[[nodiscard]] std::string socket_of(const ClientFlags& flags);

/// A body of any type; the rest as call().
[[nodiscard]] Result<boost::json::value> send(const ClientFlags& flags, std::string_view method,
                                              const std::string& path, std::string body,
                                              const std::string& content_type);
/// The answer's JSON; an answer with an error status is an Error with the agent's own message.
[[nodiscard]] Result<boost::json::value> call(const ClientFlags& flags, std::string_view method,
                                              const std::string& path,
                                              const boost::json::value* body = nullptr);

struct ColumnSpec {
  std::string_view title;
  std::string_view path;  // "cause.finding"
};
/// Rows of `array` as an aligned table, or as JSON.
void print_table(const ClientFlags& flags, const boost::json::value& answer, std::string_view array,
                 const std::vector<ColumnSpec>& columns);
enum class Missing { kDash, kLeftOut };
/// One object as "name  value" lines, or as JSON.
void print_object(const ClientFlags& flags, const boost::json::value& answer,
                  const std::vector<ColumnSpec>& rows, Missing missing = Missing::kDash);

/// Reports a failed call on standard error; the exit code.
int report(const Error& error);

/// A scalar as people read it; "-" for null and missing.
[[nodiscard]] std::string to_cell(const boost::json::value& value);
[[nodiscard]] const boost::json::value* find_path(const boost::json::value& value,
                                                  std::string_view path);

}  // namespace nexus::agent

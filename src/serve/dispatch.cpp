#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <exception>

#include "nexus/base/log.hpp"
#include "serve/state.hpp"

namespace nexus::serve {
namespace {

Response method_not_allowed(const Router::Match& match) {
  std::string allow;
  for (const auto method : match.allowed) {
    if (!allow.empty()) allow += ", ";
    allow += to_string(method);
  }
  auto response = error(405, "method_not_allowed", fmt::format("this path takes {}", allow));
  response.headers.emplace_back("Allow", allow);
  return response;
}

Response not_enough(const Request& request, config::Role needed) {
  if (!request.caller.authenticated) {
    auto response =
        error(401, "unauthorized",
              fmt::format("a bearer token with the role {} is needed", config::to_string(needed)));
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"nexus-agent\"");
    return response;
  }
  return error(403, "forbidden",
               fmt::format("the role {} is needed; {} has the role {}", config::to_string(needed),
                           request.caller.who, config::to_string(request.caller.role)));
}

/// A handler that throws has a bug or met one in a library; the caller gets a 500 and the rest goes
/// on.
Response call(const Route& route, const Request& request) {
  try {
    return route.handler(request);
  } catch (const std::exception& exception) {
    log::error("serve", "{} {}: {}", to_string(request.method), route.pattern, exception.what());
  } catch (...) {
    log::error("serve", "{} {}: an unknown exception", to_string(request.method), route.pattern);
  }
  return error(500, "internal", "the request could not be answered; the log says why");
}

/// Where a handler that may wait runs: by what it says of itself, else those that act apart from
/// those that read, whatever role they need.
Lane& lane_of(ServerState& state, const Route& route) {
  switch (route.runs) {
    case Runs::kSwitch:
      return state.switches;
    case Runs::kOutside:
      return state.outside;
    case Runs::kScrape:
      return state.scrapes;
    case Runs::kBulk:
      return state.bulk;
    case Runs::kSnapshot:
    case Runs::kBlocking:
      break;
  }
  const bool acts = route.needs >= config::Role::kOperator && route.method != Method::kGet;
  return acts ? state.control : state.readers;
}

}  // namespace

void dispatch(const std::shared_ptr<ServerState>& state, Request request,
              std::function<void(Response)> done) {
  auto match = state->router->match(request.method, request.path);
  if (match.allowed.empty())
    return done(error(404, "not_found", fmt::format("no route {}", request.path)));
  if (match.route == nullptr) return done(method_not_allowed(match));
  const Route& route = *match.route;
  if (request.caller.role < route.needs) return done(not_enough(request, route.needs));
  request.captures = std::move(match.captures);
  request.cancelled = [state, gone = std::move(request.cancelled)] {
    return state->stopping.load(std::memory_order_relaxed) || (gone && gone());
  };
  if (route.runs == Runs::kSnapshot) return done(call(route, request));
  Lane& lane = lane_of(*state, route);
  if (lane.waiting.fetch_add(1) >= ServerState::kMaxWaiting) {
    lane.waiting.fetch_sub(1);
    state->metrics.count_refused("busy");
    return done(error(503, "busy", "too many requests are waiting; try again"));
  }
  boost::asio::post(lane.pool, [state, &route, &lane, request = std::move(request),
                                done = std::move(done)]() mutable {
    const auto pass = state->handlers.enter();
    if (!pass) return;  // the server has ended, nobody waits for the answer
    auto response = call(route, request);
    lane.waiting.fetch_sub(1);
    boost::asio::post(state->io,
                      [done = std::move(done), response = std::move(response)]() mutable {
                        done(std::move(response));
                      });
  });
}

ServerMetrics::ServerMetrics(knowledge::SelfMetrics& self)
    : responses_2xx(self.counter("nexus_http_responses_total", "HTTP responses by class of status.",
                                 {{"code", "2xx"}})),
      responses_3xx(self.counter("nexus_http_responses_total", "HTTP responses by class of status.",
                                 {{"code", "3xx"}})),
      responses_4xx(self.counter("nexus_http_responses_total", "HTTP responses by class of status.",
                                 {{"code", "4xx"}})),
      responses_5xx(self.counter("nexus_http_responses_total", "HTTP responses by class of status.",
                                 {{"code", "5xx"}})),
      connections(self.gauge("nexus_http_connections", "Open HTTP connections.")),
      accepted(self.counter("nexus_http_connections_accepted_total", "HTTP connections accepted.")),
      accept_errors(self.counter("nexus_http_accept_errors_total",
                                 "Failed accepts, e.g. for want of descriptors.")),
      timeouts(self.counter("nexus_http_timeouts_total",
                            "Connections closed because a time limit ran out.")),
      listen_errors(self.counter("nexus_http_listen_errors_total",
                                 "Times that an address of [http] listen could not be had.")),
      listeners_missing(self.gauge("nexus_http_listeners_missing",
                                   "Addresses of [http] listen that are waited for.")),
      registry(self) {}

void ServerMetrics::count_response(unsigned status) const {
  if (status < 300) {
    responses_2xx.add();
  } else if (status < 400) {
    responses_3xx.add();
  } else if (status < 500) {
    responses_4xx.add();
  } else {
    responses_5xx.add();
  }
}

void ServerMetrics::count_refused(std::string_view reason) const {
  registry
      .counter("nexus_http_refused_total", "Requests and connections refused, by reason.",
               {{"reason", reason}})
      .add();
}

}  // namespace nexus::serve

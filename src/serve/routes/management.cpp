#include <map>
#include <mutex>
#include <tuple>

#include "serve/encoding.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

Response text(std::string body, unsigned status = 200) {
  auto response = json(std::move(body), status);
  response.content_type = "text/plain; charset=utf-8";
  return response;
}

/// The exposition of the present, rendered at most once for every change of the history and shared
/// among scrapers.
class MetricsPage {
 public:
  explicit MetricsPage(SharedRooms rooms)
      : rooms_(std::move(rooms)), exposition_(rooms_->registry) {}

  Response get(const Request& request) {
    const bool open = wants_open_metrics(request.accept);
    const auto coding = choose_coding(request.accept_encoding);
    const auto escaping = choose_escaping(request.accept, open);
    Response response;
    response.content_type = open ? kOpenMetricsType : kTextType;
    if (request.accept.find("escaping=") != std::string::npos) {
      response.content_type += "; escaping=";
      response.content_type += to_string(escaping);
    }
    response.headers.emplace_back("Vary", "Accept, Accept-Encoding");
    if (coding != Coding::kIdentity)
      response.headers.emplace_back("Content-Encoding", std::string(to_string(coding)));
    response.body = body(open, escaping, coding);
    return response;
  }

 private:
  std::shared_ptr<const std::string> body(bool open, knowledge::NameEscaping escaping,
                                          Coding coding) {
    const std::lock_guard guard(mutex_);
    const auto appended = rooms_->history.stats().appended;
    if (appended != rendered_at_ || bodies_.empty()) {
      bodies_.clear();
      rendered_at_ = appended;
    }
    auto& cached = bodies_[{open, escaping, coding}];
    if (cached) return cached;
    auto& plain = bodies_[{open, escaping, Coding::kIdentity}];
    if (!plain) plain = std::make_shared<const std::string>(page(open, escaping));
    if (coding != Coding::kIdentity)
      cached = std::make_shared<const std::string>(compress(*plain, coding));
    return bodies_[{open, escaping, coding}];
  }

  std::string page(bool open, knowledge::NameEscaping escaping) {
    const std::string& rendered = render();
    // Without names in quotes there is nothing to do but for dots, which doubles underscores.
    const bool is_plain = rendered.find("{\"") == std::string::npos &&
                          rendered.find(",\"") == std::string::npos &&
                          rendered.find("# TYPE \"") == std::string::npos;
    const bool stays = escaping == knowledge::NameEscaping::kAllowUtf8 ||
                       (is_plain && escaping != knowledge::NameEscaping::kDots);
    const std::string& named =
        stays ? rendered : (escaped_ = knowledge::escape_names(rendered, escaping));
    return open ? to_open_metrics(named) : named;
  }

  const std::string& render() {
    samples_.clear();
    const auto since = base::to_unix_millis(rooms_->clock.wall()) - kLookbackMillis;
    rooms_->history.for_each_latest(since,
                                    [this](knowledge::SeriesId id, knowledge::Sample sample) {
                                      samples_.push_back({id, sample.value});
                                    });
    return exposition_.render(samples_);
  }

  static constexpr std::int64_t kLookbackMillis = 300'000;  // as PromQL looks back

  const SharedRooms rooms_;
  std::mutex mutex_;
  knowledge::Exposition exposition_;
  std::vector<knowledge::ExposedSample> samples_;
  std::uint64_t rendered_at_ = 0;
  std::string escaped_;
  std::map<std::tuple<bool, knowledge::NameEscaping, Coding>, std::shared_ptr<const std::string>>
      bodies_;
};

Response reload(const Rooms& rooms, const Request& request) {
  return audited(rooms, request, "reload", "configuration", "", [&] {
    const auto reloaded = rooms.reload();
    if (!reloaded) return error(400, "invalid_configuration", reloaded.error().message());
    return to_response({{"result", "reloaded"}, {"needs_restart", strings(rooms.needs_restart())}});
  });
}

Response landing(const Rooms& rooms) {
  auto response = json(
      "<!doctype html><html lang=\"en\"><meta "
      "charset=\"utf-8\"><title>nexus-agent</title><h1>nexus-agent " +
      rooms.info.version +
      "</h1><ul><li><a href=\"/health/status\">Status</a><li><a "
      "href=\"/health/alerts\">Findings</a>"
      "<li><a href=\"/health/predictions\">Predictions</a><li><a "
      "href=\"/health/anomalies\">Anomalies</a>"
      "<li><a href=\"/operations/actions\">Actions</a><li><a href=\"/metrics\">Metrics</a></ul>\n");
  response.content_type = "text/html; charset=utf-8";
  response.headers.emplace_back("Content-Security-Policy", "default-src 'none'");
  return response;
}

}  // namespace

void add_management(std::vector<Route>& routes, const SharedRooms& rooms) {
  using config::Role;
  auto page = std::make_shared<MetricsPage>(rooms);
  routes.push_back({Method::kGet, "/", Role::kViewer, Runs::kSnapshot,
                    [rooms](const Request&) { return landing(*rooms); }, "Links to what there is"});
  routes.push_back({Method::kGet, "/metrics", Role::kViewer, Runs::kScrape,
                    [page](const Request& request) { return page->get(request); },
                    "Prometheus text or OpenMetrics"});
  routes.push_back({Method::kGet, "/-/healthy", Role::kNone, Runs::kSnapshot,
                    [rooms](const Request&) {
                      std::string why;
                      return rooms->healthy(why)
                                 ? text("nexus-agent is healthy.\n")
                                 : text("nexus-agent is unhealthy: " + why + ".\n", 503);
                    },
                    "200 while every loop makes its turns, 503 and the reason otherwise"});
  routes.push_back({Method::kGet, "/-/ready", Role::kNone, Runs::kSnapshot,
                    [rooms](const Request&) {
                      return rooms->ready() ? text("nexus-agent is ready.\n")
                                            : text("nexus-agent is not ready.\n", 503);
                    },
                    "200 once every collector has run and the vitals stand, 503 before"});
  for (const auto method : {Method::kPost, Method::kPut}) {
    routes.push_back({method, "/-/reload", Role::kAdministrator, Runs::kBlocking,
                      [rooms](const Request& request) { return reload(*rooms, request); },
                      "Read the configuration anew"});
  }
}

}  // namespace nexus::serve

#include "analyze/record_json.hpp"

#include <boost/json.hpp>

namespace nexus::analyze {
namespace {

namespace json = boost::json;

json::array from(const std::vector<std::string>& texts) {
  json::array out;
  for (const auto& text : texts) out.push_back(json::value(text));
  return out;
}

std::string text_of(const json::object& object, std::string_view key) {
  return std::string(object.at(key).as_string());
}

WallTime time_of(const json::object& object) {
  return base::from_unix_millis(object.at("time").as_int64());
}

/// Throws where a member is absent or of another type.
void read(const json::object& object, Finding& finding, FindingRecord& out) {
  finding.flapping = object.at("flapping").as_bool();
  finding.missing = object.at("missing").as_bool();
  out.cause = text_of(object, "cause");
  out.cause_link = text_of(object, "cause_link");
  for (const auto& one : object.at("states").as_array())
    out.states.push_back({time_of(one.as_object()), text_of(one.as_object(), "what")});
  for (const auto& one : object.at("symptoms").as_array())
    out.symptoms.emplace_back(one.as_string());
  for (const auto& one : object.at("what_changed").as_array()) {
    const auto& change = one.as_object();
    out.what_changed.push_back({time_of(change), text_of(change, "kind"),
                                text_of(change, "subject"), text_of(change, "text")});
  }
  for (const auto& one : object.at("actions").as_array()) {
    const auto& action = one.as_object();
    out.actions.push_back({time_of(action), text_of(action, "id"), text_of(action, "type"),
                           text_of(action, "target"), text_of(action, "state"),
                           text_of(action, "result"), text_of(action, "remedy")});
  }
}

}  // namespace

std::string record_to_json(const Finding& finding) {
  const FindingRecord& record = record_of(finding);
  json::array states;
  for (const auto& one : record.states)
    states.push_back(json::object{{"time", base::to_unix_millis(one.time)}, {"what", one.what}});
  json::array changes;
  for (const auto& one : record.what_changed) {
    changes.push_back(json::object{{"time", base::to_unix_millis(one.time)},
                                   {"kind", one.kind},
                                   {"subject", one.subject},
                                   {"text", one.text}});
  }
  json::array actions;
  for (const auto& one : record.actions) {
    actions.push_back(json::object{{"time", base::to_unix_millis(one.time)},
                                   {"id", one.id},
                                   {"type", one.type},
                                   {"target", one.target},
                                   {"state", one.state},
                                   {"result", one.result},
                                   {"remedy", one.remedy}});
  }
  return json::serialize(json::object{{"flapping", finding.flapping},
                                      {"missing", finding.missing},
                                      {"cause", record.cause},
                                      {"cause_link", record.cause_link},
                                      {"states", std::move(states)},
                                      {"symptoms", from(record.symptoms)},
                                      {"what_changed", std::move(changes)},
                                      {"actions", std::move(actions)}});
}

bool record_from_json(const std::string& text, Finding& finding) {
  if (text.empty()) return true;  // of an agent that kept none
  try {
    auto record = std::make_shared<FindingRecord>();
    read(json::parse(text).as_object(), finding, *record);
    finding.record = std::move(record);
    return true;
  } catch (const std::exception&) {  // Boost.JSON's
    return false;
  }
}

}  // namespace nexus::analyze

// clear_cache: has the configured Redis give memory back, or puts an end to the life of keys that
// have none.
//
// "purge" asks the allocator to return what it holds and does not use (MEMORY PURGE): no key is
// touched. "expire" gives keys that would live for ever a time to live; only keys that match a
// pattern of [allow] redis_keys, which is empty unless somebody has said what is a cache. Never on
// a replica, and never a key that has a time to live already.
#include <fnmatch.h>
#include <boost/json.hpp>

#include <algorithm>
#include <array>

#include "execute/actions.hpp"
#include "execute/cleanup_plan.hpp"
#include "execute/parameter_values.hpp"
#include "execute/waiting.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/redis.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using drivers::Redis;
using drivers::RedisReply;

constexpr Millis kCommandLimit = 5s;
constexpr Millis kRecount = 1s;
constexpr Millis kDryRunLimit = 20s;
constexpr Millis kLeastLife = 60s;
constexpr Millis kMostLife = 30 * 24h;
constexpr std::int64_t kMostKeys = 1'000'000;
constexpr std::size_t kBatch = 500;  // keys of one SCAN: some milliseconds of the server
constexpr std::size_t kShown = 20;   // keys in a dry run
constexpr std::size_t kMostScans = 1'000'000;

constexpr std::array<ParameterDescriptor, 4> kParameters{{
    {.name = "what",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "purge",
     .help = "purge: memory that is free inside Redis goes back to the host; expire: keys without "
             "a time to live get one"},
    {.name = "keys",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "of expire: which keys, as one of the patterns of [allow] redis_keys"},
    {.name = "ttl",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "1h",
     .help = "of expire: from 1m to 30d"},
    {.name = "max_keys",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "10000",
     .help = "of expire: no more than so many"},
}};

/// A number in INFO's text.
std::int64_t info_number(std::string_view info, std::string_view name) {
  while (!info.empty()) {
    auto line = base::trim(base::take_until(info, '\n'));
    if (base::take_until(line, ':') == name) return base::parse_int(line).value_or(0);
  }
  return 0;
}

struct Memory {
  std::int64_t used = 0;      // by what is stored
  std::int64_t resident = 0;  // as the host sees it
  bool is_replica = false;
  std::int64_t keys = 0;
};

struct Wish {
  bool expires = false;
  std::string keys;
  Millis ttl{};
  std::int64_t max_keys = 0;
};

Result<Wish> wish_of(const plan::Action& action, const config::Config& config) {
  Wish out;
  const auto what = text_parameter(action.parameters, "what", "purge");
  if (what != "purge" && what != "expire")
    return fail(Errc::kInvalidArgument, "parameter \"what\": expected purge or expire, got \"{}\"",
                what);
  out.expires = what == "expire";
  if (!out.expires) return out;
  out.keys = text_parameter(action.parameters, "keys");
  const auto& allowed = config.allow.redis_keys;
  if (std::ranges::find(allowed, out.keys) == allowed.end())
    return fail(Errc::kPermissionDenied,
                "parameter \"keys\": \"{}\" is not one of the patterns of [allow] redis_keys",
                out.keys);
  out.ttl = duration_parameter(action.parameters, "ttl", 1h);
  if (out.ttl < kLeastLife || out.ttl > kMostLife)
    return fail(Errc::kInvalidArgument, "parameter \"ttl\": expected 1m to 30d");
  const auto* most = find_parameter<std::int64_t>(action.parameters, "max_keys");
  out.max_keys = most != nullptr ? *most : 10'000;
  if (out.max_keys < 1 || out.max_keys > kMostKeys)
    return fail(Errc::kInvalidArgument, "parameter \"max_keys\": expected 1 to {}", kMostKeys);
  return out;
}

/// One connection for one call of the step.
class Server {
 public:
  explicit Server(StepContext& context)
      : clock_(context.clock), redis_(context.clock, context.config->connections.redis) {}

  Result<RedisReply> ask(std::initializer_list<std::string> words) {
    return redis_.command(words, clock_.steady() + kCommandLimit);
  }

  Result<Memory> memory() {
    auto info = ask({"INFO", "memory"});
    if (!info) return propagate(std::move(info));
    auto role = ask({"ROLE"});
    if (!role) return propagate(std::move(role));
    auto keys = ask({"DBSIZE"});
    if (!keys) return propagate(std::move(keys));
    Memory out{.used = info_number(info->text, "used_memory"),
               .resident = info_number(info->text, "used_memory_rss"),
               .is_replica = false,
               .keys = keys->integer};
    const auto& words = role->elements;
    out.is_replica = !words.empty() && words.front().text != "master";
    return out;
  }

  /// Keys of the pattern without a time to live. `on_page` is asked before each page of keys, of
  /// which most may be none of them; `on_key` says whether to go on.
  Status each_endless(const Wish& wish, const std::function<Status()>& on_page,
                      const std::function<Result<bool>(const std::string&)>& on_key) {
    std::string cursor = "0";
    for (std::size_t i = 0; i < kMostScans; ++i) {
      if (auto ok = on_page(); !ok) return ok;
      auto page = ask({"SCAN", cursor, "MATCH", wish.keys, "COUNT", std::to_string(kBatch)});
      if (!page) return propagate(std::move(page));
      if (page->elements.size() != 2)
        return fail(Errc::kCorrupt, "Redis: SCAN answered in another form");
      for (const auto& key : page->elements[1].elements) {
        auto life = ask({"TTL", key.text});
        if (!life) return propagate(std::move(life));
        if (life->integer != -1) continue;
        auto more = on_key(key.text);
        if (!more) return propagate(std::move(more));
        if (!*more) return {};
      }
      cursor = page->elements[0].text;
      if (cursor == "0") return {};
    }
    return fail(Errc::kExhausted, "Redis: SCAN did not come to an end");
  }

 private:
  Clock& clock_;
  Redis redis_;
};

class ClearCache final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    if (action.target != "redis")
      return fail(Errc::kInvalidArgument, "target: expected \"redis\", got \"{}\"", action.target);
    if (context.config->connections.redis.host.empty())
      return fail(Errc::kNotFound, "[redis] names no host");
    if (auto wish = wish_of(action, *context.config); !wish) return propagate(std::move(wish));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto wish = wish_of(action, *context.config);
    if (!wish) return propagate(std::move(wish));
    Server server(context);
    auto memory = server.memory();
    if (!memory) return propagate(std::move(memory));
    if (!wish->expires)
      return fmt::format(
          "would have Redis give back what it holds and does not use: it stores {} "
          "and takes {}",
          bytes(memory->used), bytes(memory->resident));
    if (memory->is_replica) return fail(Errc::kConflict, "this Redis is a replica");
    std::int64_t found = 0;
    std::string names;
    bool complete = true;
    const auto until = context.clock.steady() + kDryRunLimit;
    auto done = server.each_endless(
        *wish,
        [&]() -> Status {
          complete = context.clock.steady() < until;
          return complete ? Status() : fail(Errc::kTimeout, "the dry run takes too long");
        },
        [&](const std::string& key) -> Result<bool> {
          if (static_cast<std::size_t>(found) < kShown) names += "\n" + base::sanitize_utf8(key);
          return ++found < wish->max_keys;
        });
    if (!done && complete) return propagate(std::move(done));
    return fmt::format("would have {}{} of {} keys end within {}{}:{}", complete ? "" : "at least ",
                       found, memory->keys, base::format_duration(wish->ttl),
                       found >= wish->max_keys ? " (max_keys)" : "", names);
  }

  std::string evidence(const plan::Action&, StepContext& context) override {
    auto memory = Server(context).memory();
    if (!memory) return json::serialize(json::object{{"error", memory.error().message()}});
    return json::serialize(json::object{{"used_bytes", memory->used},
                                        {"resident_bytes", memory->resident},
                                        {"keys", memory->keys}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto wish = wish_of(action, *context.config);
    if (!wish) return propagate(std::move(wish));
    Server server(context);
    return wish->expires ? expire(server, *wish, context, run) : purge(server, context, run);
  }

  /// What was freed or given a time to live is in the result; there is no state to compare with.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action&, StepContext&, std::string& what) override {
    what = "how far it came is not known; doing it again does no harm";
    return Recovered::kUnknown;
  }

 private:
  static std::string bytes(std::int64_t count) {
    return show_bytes(static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0)));
  }

  static Result<StepResult> purge(Server& server, StepContext& context, const StepRun& run) {
    auto before = server.memory();
    if (!before) return propagate(std::move(before));
    run.begun();
    auto done = server.ask({"MEMORY", "PURGE"});
    if (!done) return propagate(std::move(done), "MEMORY PURGE");
    // Redis counts what it takes a few times a second.
    const auto until = context.clock.steady() + kRecount;
    auto after = server.memory();
    while (after && after->resident >= before->resident &&
           !pause_in_step(context.clock, run, std::min(until, context.clock.steady() + 100ms)) &&
           context.clock.steady() < until)
      after = server.memory();
    if (!after) return propagate(std::move(after));
    return StepResult{
        .result = fmt::format("Redis took {}, and takes {}; it stores {}", bytes(before->resident),
                              bytes(after->resident), bytes(after->used)),
        .output = {}};
  }

  static Result<StepResult> expire(Server& server, const Wish& wish, StepContext& context,
                                   const StepRun& run) {
    auto memory = server.memory();
    if (!memory) return propagate(std::move(memory));
    if (memory->is_replica) return fail(Errc::kConflict, "this Redis is a replica");
    const auto seconds =
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(wish.ttl).count());
    std::int64_t changed = 0;
    run.begun();
    const auto go_on = [&]() -> Status {
      auto why = why_to_end(context.clock, run);
      return why ? fail(*why, "ended after {} keys", changed) : Status();
    };
    auto done = server.each_endless(wish, go_on, [&](const std::string& key) -> Result<bool> {
      if (auto ok = go_on(); !ok) return propagate(std::move(ok));
      // Redis' patterns are not quite everybody's: what either does not take for a match stays.
      if (::fnmatch(wish.keys.c_str(), key.c_str(), 0) != 0) return true;
      auto set = server.ask({"EXPIRE", key, seconds});
      if (!set) return propagate(std::move(set), "EXPIRE");
      changed += set->integer;
      return changed < wish.max_keys;
    });
    if (!done) return propagate(std::move(done));
    return StepResult{
        .result = fmt::format("{} keys of {} end within {}{}", changed, wish.keys,
                              base::format_duration(wish.ttl),
                              changed >= wish.max_keys ? "; max_keys was reached" : ""),
        .output = {}};
  }
};

Status check_clear_cache(const config::RemedyConfig& remedy, const config::Config& config) {
  if (config.connections.redis.host.empty()) return fail(Errc::kNotFound, "[redis] names no host");
  plan::Action action;
  action.parameters = remedy.parameters;
  if (std::ranges::any_of(action.parameters, [](const auto& entry) {
        const auto* text = std::get_if<std::string>(&entry.second);
        return text != nullptr && is_template(*text);
      }))
    return {};
  if (auto wish = wish_of(action, config); !wish) return propagate(std::move(wish));
  return {};
}

}  // namespace

const ActionDescriptor kClearCache{
    .name = "clear_cache",
    .help =
        "Has Redis give memory back to the host, or gives a time to live to keys that have none.",
    .target_help = "\"redis\", the server of [redis]",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<ClearCache>(); },
    .check_remedy = check_clear_cache,
};

}  // namespace nexus::execute

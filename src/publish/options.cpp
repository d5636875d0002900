// The options and secrets of receivers against their descriptors.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "nexus/analyze/text_template.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

std::string_view expected(OptionType type) {
  switch (type) {
    case OptionType::kBool:
      return "a boolean";
    case OptionType::kInteger:
      return "an integer";
    case OptionType::kString:
      return "a string";
    case OptionType::kStrings:
      return "an array of strings";
  }
  return "a value";
}

bool is_of(const config::ParameterValue& value, OptionType type) {
  switch (type) {
    case OptionType::kBool:
      return std::holds_alternative<bool>(value);
    case OptionType::kInteger:
      return std::holds_alternative<std::int64_t>(value);
    case OptionType::kString:
      return std::holds_alternative<std::string>(value);
    case OptionType::kStrings:
      return std::holds_alternative<std::vector<std::string>>(value);
  }
  return false;
}

const config::Secret& secret_of(const config::ReceiverConfig& config, std::string_view name) {
  if (name == "url") return config.url;
  if (name == "password") return config.password;
  if (name == "token") return config.token;
  return config.secret;
}

class Checker {
 public:
  Checker(const config::ReceiverConfig& config, const config::Config& all,
          std::vector<config::Problem>& problems)
      : config_(config), all_(all), problems_(problems) {}

  void run() {
    const auto* descriptor = find_receiver(config_.type);
    if (descriptor == nullptr) {
      std::vector<std::string_view> names;
      for (const auto* one : receivers()) names.push_back(one->name);
      complain(config_.type_place, "type",
               fmt::format("there is no receiver \"{}\"; expected one "
                           "of {}",
                           config_.type, fmt::join(names, ", ")));
      return;
    }
    options(*descriptor);
    for (const auto* name : {"url", "password", "token", "secret"}) secret(*descriptor, name);
    texts(*descriptor);
    if (descriptor->check == nullptr) return;
    descriptor->check(config_, all_, [this](std::string_view key, std::string_view what) {
      const auto found = config_.parameter_places.find(key);
      complain(found == config_.parameter_places.end() ? config_.where : found->second, key, what);
    });
  }

 private:
  void complain(const config::Where& where, std::string_view key, std::string_view what) {
    problems_.push_back({where, fmt::format("notify.{}.{}: {}", config_.name, key, what)});
  }

  /// The templates, and what goes with links.
  void texts(const ReceiverDescriptor& descriptor) {
    const std::pair<std::string_view, const std::string*> all[] = {{"title", &config_.title},
                                                                   {"text", &config_.text}};
    for (const auto& [key, text] : all) {
      if (text->empty()) continue;
      const auto found = config_.parameter_places.find(key);
      const auto& where = found == config_.parameter_places.end() ? config_.where : found->second;
      if (!descriptor.has_words) {
        complain(where, key, fmt::format("{} has words of its own", descriptor.name));
      } else if (auto parsed = analyze::TextTemplate::parse(
                     *text, fmt::format("notify.{}.{}", config_.name, key));
                 !parsed) {
        complain(where, key, parsed.error().message());
      }
    }
    if (config_.approval_links && all_.agent.external_url.empty())
      complain(config_.where, "approval_links",
               "expected external_url in [agent], for links lead there");
  }

  void options(const ReceiverDescriptor& descriptor) {
    for (const auto& [name, value] : config_.parameters) {
      const auto found = std::ranges::find(descriptor.options, name, &OptionDescriptor::name);
      const auto& where = config_.parameter_places.at(name);
      if (found == descriptor.options.end()) {
        std::vector<std::string_view> names;
        for (const auto& option : descriptor.options) names.push_back(option.name);
        complain(where, name,
                 fmt::format("unknown key; the options of {} are: {}", descriptor.name,
                             names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
      } else if (!is_of(value, found->type)) {
        complain(where, name, fmt::format("expected {}", expected(found->type)));
      }
    }
    for (const auto& option : descriptor.options) {
      if (option.required && !config_.parameters.contains(option.name))
        complain(config_.where, option.name, fmt::format("missing; expected {}", option.help));
    }
  }

  void secret(const ReceiverDescriptor& descriptor, std::string_view name) {
    const auto found = std::ranges::find(descriptor.secrets, name, &SecretDescriptor::name);
    const bool given = !secret_of(config_, name).empty();
    if (found == descriptor.secrets.end()) {
      if (given)
        complain(config_.where, name, fmt::format("{} takes no such thing", descriptor.name));
      return;
    }
    if (found->required && !given) {
      complain(config_.where, name,
               found->may_be_written
                   ? fmt::format("missing; expected {}", found->help)
                   : fmt::format("missing; expected {1}, as {0}_file, {0}_env or {0}_credential",
                                 name, found->help));
    }
    if (given && name == "url" && config_.url_is_plain && !found->may_be_written) {
      complain(config_.where, name,
               "who knows it can write there, so it does not belong into this "
               "file; expected url_file, url_env or url_credential");
    }
  }

  const config::ReceiverConfig& config_;
  const config::Config& all_;
  std::vector<config::Problem>& problems_;
};

}  // namespace

std::vector<config::Problem> check_receivers(const config::Config& config) {
  std::vector<config::Problem> problems;
  for (const auto& receiver : config.publish.receivers) Checker(receiver, config, problems).run();
  return problems;
}

std::string text_option(const config::ReceiverConfig& config, std::string_view name,
                        std::string_view otherwise) {
  const auto found = config.parameters.find(name);
  const auto* text =
      found == config.parameters.end() ? nullptr : std::get_if<std::string>(&found->second);
  return text == nullptr ? std::string(otherwise) : *text;
}

std::vector<std::string> texts_option(const config::ReceiverConfig& config, std::string_view name) {
  const auto found = config.parameters.find(name);
  const auto* texts = found == config.parameters.end()
                          ? nullptr
                          : std::get_if<std::vector<std::string>>(&found->second);
  return texts == nullptr ? std::vector<std::string>{} : *texts;
}

bool bool_option(const config::ReceiverConfig& config, std::string_view name, bool otherwise) {
  const auto found = config.parameters.find(name);
  const auto* flag = found == config.parameters.end() ? nullptr : std::get_if<bool>(&found->second);
  return flag == nullptr ? otherwise : *flag;
}

}  // namespace nexus::publish

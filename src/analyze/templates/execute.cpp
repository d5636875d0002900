// Runs a template.
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "analyze/templates/functions.hpp"
#include "analyze/templates/program.hpp"

namespace nexus::analyze {
namespace templates {
namespace {

constexpr int kMaxInvoked = 100;    // templates within templates: each costs stack
constexpr int kMaxSteps = 100'000;  // nodes and calls: ranges within ranges end

class Execution {
 public:
  Execution(const Program& program, const TemplateData& data) : program_(program), data_(data) {
    variables_ = {{"$", {Root{&data}}},
                  {"$labels", {data.labels}},
                  {"$externalLabels", {data.external_labels}},
                  {"$externalURL", {data.external_url}},
                  {"$value", {data.value}}};
  }

  Result<std::string> run() {
    const auto flow = walk(program_.nodes, {Root{&data_}});
    if (!flow)
      return fail(flow.error().code(), "error executing template {0}: template: {0}:{1}",
                  program_.name, place(flow.error()));
    return std::move(out_);
  }

 private:
  enum class Flow { kOn, kBreak, kContinue };

  [[nodiscard]] std::string place(const Error& error) const {
    return fmt::format("{}: {}", line_, error.message());
  }

  Status step() {
    if (++steps_ <= kMaxSteps) return {};
    return fail(Errc::kExhausted, "more than {} steps", kMaxSteps);
  }

  Status write(std::string_view text) {
    if (out_.size() + text.size() > Template::kMaxOutput)
      return fail(Errc::kExhausted, "the result is longer than {} bytes", Template::kMaxOutput);
    out_ += text;
    return {};
  }

  Result<Flow> walk(const Nodes& nodes, const Value& dot) {
    for (const auto& node : nodes) {
      if (Status status = step(); !status) return std::unexpected(status.error());
      if (const auto* text = std::get_if<std::string>(&node.kind)) {
        if (Status status = write(*text); !status) return std::unexpected(status.error());
      } else if (const auto* pipeline = std::get_if<Pipeline>(&node.kind)) {
        const auto value = evaluate(*pipeline, dot);
        if (!value) return std::unexpected(value.error());
        if (!pipeline->variables.empty()) continue;
        if (Status status = write(show(*value)); !status) return std::unexpected(status.error());
      } else if (const auto* jump = std::get_if<Node::Jump>(&node.kind)) {
        return *jump == Node::Jump::kBreak ? Flow::kBreak : Flow::kContinue;
      } else if (const auto* invocation = std::get_if<Invocation>(&node.kind)) {
        if (Status status = invoke(*invocation, dot); !status)
          return std::unexpected(status.error());
      } else {
        const auto& branch = *std::get<std::unique_ptr<Branch>>(node.kind);
        const auto depth = variables_.size();
        const auto flow = take(branch, dot);
        variables_.resize(depth);
        if (!flow || *flow != Flow::kOn) return flow;
      }
    }
    return Flow::kOn;
  }

  /// A named template, which sees nothing of its caller's variables.
  Status invoke(const Invocation& invocation, const Value& dot) {
    line_ = invocation.line;
    Value inner;
    if (invocation.dot) {
      auto value = evaluate(*invocation.dot, dot);
      if (!value) return std::unexpected(value.error());
      inner = std::move(*value);
    }
    const auto found = program_.definitions.find(invocation.name);
    if (found == program_.definitions.end())
      return fail(Errc::kInvalidArgument, "template \"{}\" not defined", invocation.name);
    if (++invoked_ > kMaxInvoked)
      return fail(Errc::kExhausted, "exceeded maximum template depth ({})", kMaxInvoked);
    auto outer = std::exchange(variables_, {{"$", inner}});
    const auto flow = walk(found->second, inner);
    variables_ = std::move(outer);
    --invoked_;
    if (!flow) return std::unexpected(flow.error());
    return {};
  }

  static Status check_size(std::span<const Value> values) {
    std::size_t left = Template::kMaxOutput;
    for (const Value& value : values) {
      const bool grows = value.as<std::string>() != nullptr ||
                         value.as<std::shared_ptr<const Arguments>>() != nullptr;
      const std::size_t size = grows ? weight(value, left) : 0;
      if (size > left)
        return fail(Errc::kExhausted, "a text is longer than {} bytes", Template::kMaxOutput);
      left -= size;
    }
    return {};
  }

  Result<Flow> take(const Branch& branch, const Value& dot) {
    const auto value = evaluate(branch.pipeline, dot);
    if (!value) return std::unexpected(value.error());
    if (branch.kind == Branch::Kind::kRange) return range(branch, *value, dot);
    if (!truth(*value)) return walk(branch.otherwise, dot);
    return walk(branch.body, branch.kind == Branch::Kind::kWith ? *value : dot);
  }

  /// The keys and elements that a range goes through.
  static Result<std::vector<std::pair<Value, Value>>> elements(const Value& value) {
    std::vector<std::pair<Value, Value>> out;
    if (const auto* samples = value.as<Samples>()) {
      for (const auto& sample : *samples)
        out.push_back({{static_cast<std::int64_t>(out.size())}, {sample}});
    } else if (const auto* map = value.as<StringMap>()) {
      for (const auto& [key, item] : *map) out.push_back({{key}, {item}});
    } else if (const auto* args = value.as<std::shared_ptr<const Arguments>>()) {
      for (const auto& [key, item] : **args) out.push_back({{key}, item});
    } else if (value.as<Nothing>() == nullptr) {
      return fail(Errc::kInvalidArgument, "range can't iterate over {}", show(value));
    }
    return out;
  }

  Result<Flow> range(const Branch& branch, const Value& value, const Value& dot) {
    const auto all = elements(value);
    if (!all) return std::unexpected(all.error());
    if (all->empty()) return walk(branch.otherwise, dot);
    const auto& names = branch.pipeline.variables;
    for (const auto& [key, element] : *all) {
      const auto depth = variables_.size();
      if (names.size() == 2) assign(branch.pipeline, names[0], key);
      if (!names.empty()) assign(branch.pipeline, names.back(), element);
      const auto flow = walk(branch.body, element);
      variables_.resize(depth);
      if (!flow) return flow;
      if (*flow == Flow::kBreak) break;
    }
    return Flow::kOn;
  }

  void assign(const Pipeline& pipeline, const std::string& name, const Value& value) {
    if (pipeline.declares) {
      variables_.emplace_back(name, value);
    } else if (Value* known = find(name)) {
      *known = value;
    }
  }

  Value* find(std::string_view name) {
    for (auto variable = variables_.rbegin(); variable != variables_.rend(); ++variable) {
      if (variable->first == name) return &variable->second;
    }
    return nullptr;
  }

  Result<Value> evaluate(const Pipeline& pipeline, const Value& dot) {
    line_ = pipeline.line;
    std::optional<Value> value;
    for (const auto& command : pipeline.commands) {
      auto next = run(command, dot, value);
      if (!next) return next;
      value = std::move(*next);
    }
    // A range gives its variables the elements instead.
    if (pipeline.variables.size() == 1) assign(pipeline, pipeline.variables.front(), *value);
    return std::move(*value);
  }

  Result<Value> run(const Command& command, const Value& dot, const std::optional<Value>& last) {
    if (Status status = step(); !status) return std::unexpected(status.error());
    const auto& head = command.front();
    const auto* const* function = std::get_if<const Function*>(&head.base);
    if (function == nullptr) {
      if (command.size() > 1 || last)
        return fail(Errc::kInvalidArgument, "can't give argument to non-function");
      return resolve(head, dot);
    }
    if ((*function)->body == nullptr) return decide(**function, command, dot, last);
    std::vector<Value> arguments;
    for (std::size_t i = 1; i < command.size(); ++i) {
      auto value = resolve(command[i], dot);
      if (!value) return value;
      arguments.push_back(std::move(*value));
    }
    if (last) arguments.push_back(*last);
    // A text that is put together with itself again and again would take all memory.
    if (Status bounded = check_size(arguments); !bounded) return std::unexpected(bounded.error());
    auto result = call(**function, arguments);
    if (!result) return result;
    if (Status bounded = check_size({&*result, 1}); !bounded)
      return std::unexpected(bounded.error());
    return fields(std::move(*result), head.fields);
  }

  Result<Value> call(const Function& function, std::span<const Value> arguments) {
    const auto count = static_cast<int>(arguments.size());
    if (count < function.least || (function.most >= 0 && count > function.most)) {
      return fail(Errc::kInvalidArgument, "wrong number of args for {}: want {}{} got {}",
                  function.name, function.most < 0 ? "at least " : "", function.least, count);
    }
    auto result = function.body(data_, arguments);
    if (!result) return propagate(std::move(result), "error calling {}", function.name);
    return result;
  }

  /// `and`, `or`: the first argument that decides, without looking at the others.
  Result<Value> decide(const Function& function, const Command& command, const Value& dot,
                       const std::optional<Value>& last) {
    const bool stops_at = function.name == "or";
    Value value;
    if (command.size() == 1 && !last)
      return fail(Errc::kInvalidArgument, "wrong number of args for {}: want at least 1 got 0",
                  function.name);
    for (std::size_t i = 1; i < command.size(); ++i) {
      auto next = resolve(command[i], dot);
      if (!next) return next;
      value = std::move(*next);
      if (truth(value) == stops_at) return value;
    }
    return last ? *last : value;
  }

  Result<Value> resolve(const Operand& operand, const Value& dot) {
    if (std::holds_alternative<Operand::Dot>(operand.base)) return fields(dot, operand.fields);
    if (const auto* variable = std::get_if<Operand::Variable>(&operand.base)) {
      const Value* value = find(variable->name);
      if (value == nullptr)
        return fail(Errc::kInvalidArgument, "undefined variable: {}", variable->name);
      return fields(*value, operand.fields);
    }
    if (const auto* literal = std::get_if<Value>(&operand.base)) return *literal;
    if (const auto* function = std::get_if<const Function*>(&operand.base)) {
      if ((*function)->body == nullptr)
        return fail(Errc::kInvalidArgument, "wrong number of args for {}: want at least 1 got 0",
                    (*function)->name);
      auto result = call(**function, {});
      if (!result) return result;
      return fields(std::move(*result), operand.fields);
    }
    auto result = evaluate(*std::get<std::unique_ptr<Pipeline>>(operand.base), dot);
    if (!result) return result;
    return fields(std::move(*result), operand.fields);
  }

  static Result<Value> fields(Value value, const std::vector<std::string>& names) {
    for (const auto& name : names) {
      auto next = field(value, name);
      if (!next) return next;
      value = std::move(*next);
    }
    return value;
  }

  static Result<Value> field(const Value& value, const std::string& name) {
    if (const auto* map = value.as<StringMap>()) {
      const auto found = map->find(name);
      return Value{found == map->end() ? std::string() : found->second};
    }
    if (const auto* args = value.as<std::shared_ptr<const Arguments>>()) {
      const auto found = (*args)->find(name);
      return found == (*args)->end() ? Value{} : found->second;
    }
    if (const auto* root = value.as<Root>()) {
      if (name == "Labels") return Value{root->data->labels};
      if (name == "ExternalLabels") return Value{root->data->external_labels};
      if (name == "ExternalURL") return Value{root->data->external_url};
      if (name == "Value") return Value{root->data->value};
    }
    if (const auto* sample = value.as<SamplePtr>()) {
      if (name == "Labels") return Value{(*sample)->labels};
      if (name == "Value") return Value{(*sample)->value};
    }
    return fail(Errc::kInvalidArgument, "can't evaluate field {} in type {}", name,
                type_name(value));
  }

  const Program& program_;
  const TemplateData& data_;
  std::string out_;
  int line_ = 1;
  int steps_ = 0;
  int invoked_ = 0;
  std::vector<std::pair<std::string, Value>> variables_;
};

}  // namespace

Result<std::string> execute(const Program& program, const TemplateData& data) {
  return Execution(program, data).run();
}

}  // namespace templates

Result<Template> Template::parse(std::string_view text, std::string name) {
  auto program = templates::parse(text, std::move(name));
  if (!program) return std::unexpected(program.error());
  return Template(std::make_shared<const templates::Program>(std::move(*program)));
}

Template Template::in(std::shared_ptr<const TemplateContext> context) const {
  Template out(program_);
  out.context_ = std::move(context);
  return out;
}

Result<std::string> Template::expand(const TemplateData& data) const {
  const bool knows = !data.external_labels.empty() || !data.external_url.empty();
  if (context_ == nullptr || knows) return templates::execute(*program_, data);
  TemplateData more = data;
  more.external_labels = context_->external_labels;
  more.external_url = context_->external_url;
  return templates::execute(*program_, more);
}

std::string Template::expand_or_say(const TemplateData& data) const {
  auto out = expand(data);
  if (out) return std::move(*out);
  return fmt::format("<error expanding template: {}>", out.error().message());
}

}  // namespace nexus::analyze

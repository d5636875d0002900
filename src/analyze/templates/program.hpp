// The syntax tree of a template. Thread safety: immutable once parsed.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "analyze/templates/value.hpp"

namespace nexus::analyze::templates {

struct Function;  // functions.hpp
struct Pipeline;

/// `.a.b`, `$x.a`, `(pipeline).a`, a literal or a function; then the fields after it.
struct Operand {
  struct Dot {};
  struct Variable {
    std::string name;  // with its $
  };
  std::variant<Dot, Variable, Value, const Function*, std::unique_ptr<Pipeline>> base;
  std::vector<std::string> fields;
};

/// `f a b`: the first operand with the others as its arguments.
using Command = std::vector<Operand>;

struct Pipeline {
  int line = 0;
  std::vector<std::string> variables;  // that get the value
  bool declares = false;               // := instead of =
  std::vector<Command> commands;       // each gets the one before as its last argument
};

struct Node;
using Nodes = std::vector<Node>;

struct Branch {
  enum class Kind { kIf, kWith, kRange };
  Kind kind = Kind::kIf;
  Pipeline pipeline;
  Nodes body;
  Nodes otherwise;
};

/// `{{template "name" pipeline}}`: what `define` or `block` gave that name, with the pipeline as
/// dot.
struct Invocation {
  int line = 0;
  std::string name;
  std::optional<Pipeline> dot;  // none: nothing
};

struct Node {
  enum class Jump { kBreak, kContinue };
  std::variant<std::string, Pipeline, std::unique_ptr<Branch>, Jump, Invocation>
      kind;  // text, action, ...
};

struct Program {
  std::string name;
  Nodes nodes;
  std::map<std::string, Nodes> definitions;
};

[[nodiscard]] Result<Program> parse(std::string_view text, std::string name);
[[nodiscard]] Result<std::string> execute(const Program& program, const TemplateData& data);

}  // namespace nexus::analyze::templates

// From tokens to the tree, with Go's words for what is wrong.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "analyze/templates/functions.hpp"
#include "analyze/templates/lexer.hpp"
#include "analyze/templates/program.hpp"

namespace nexus::analyze::templates {
namespace {

constexpr int kMaxDepth = 50;
constexpr std::size_t kMaxText = 64UL << 10;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Program> run() {
    auto nodes = body();
    if (!nodes) return std::unexpected(nodes.error());
    if (end_word_ == Ending::kEnd) return error("unexpected {{{{end}}}}");
    if (end_word_ == Ending::kElse) return error("unexpected {{{{else}}}}");
    return Program{{}, std::move(*nodes), std::move(definitions_)};
  }

 private:
  using Kind = Token::Kind;
  enum class Ending { kText, kElse, kEnd };

  template <typename... Args>
  std::unexpected<Error> error(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(Errc::kInvalidArgument, "{}: {}", peek().line,
                fmt::format(format, std::forward<Args>(args)...));
  }

  [[nodiscard]] const Token& peek() const { return tokens_[at_]; }
  [[nodiscard]] bool is(Kind kind) const { return peek().kind == kind; }
  [[nodiscard]] bool is_word(std::string_view word) const {
    return is(Kind::kWord) && peek().text == word;
  }
  const Token& take() {
    const Token& token = tokens_[at_];
    if (token.kind != Kind::kEnd) ++at_;
    return token;
  }
  bool accept(Kind kind) {
    if (!is(kind)) return false;
    take();
    return true;
  }

  Status close(std::string_view context) {
    if (accept(Kind::kClose)) return {};
    return error("unexpected \"{}\" in {}", peek().text, context);
  }

  /// Nodes up to the end of the text, or an else or end that the caller has to look at.
  Result<Nodes> body() {
    Nodes nodes;
    if (++depth_ > kMaxDepth) return error("nested too deeply");
    while (true) {
      if (is(Kind::kEnd)) {
        end_word_ = Ending::kText;
        break;
      }
      if (is(Kind::kText)) {
        nodes.push_back({take().text});
        continue;
      }
      take();  // {{
      if (is_word("end") || is_word("else")) {
        end_word_ = take().text == "end" ? Ending::kEnd : Ending::kElse;
        break;
      }
      if (Status status = action(nodes); !status) return std::unexpected(status.error());
    }
    --depth_;
    return nodes;
  }

  Status action(Nodes& nodes) {
    if (is_word("define")) return define();
    if (is_word("template")) return invoke(nodes, "template clause");
    if (is_word("block")) return block(nodes);
    if (is_word("if")) return branch(nodes, Branch::Kind::kIf, "if");
    if (is_word("with")) return branch(nodes, Branch::Kind::kWith, "with");
    if (is_word("range")) return branch(nodes, Branch::Kind::kRange, "range");
    if (is_word("break") || is_word("continue")) {
      if (loops_ == 0) return error("{{{{{}}}}} outside {{{{range}}}}", peek().text);
      const bool stops = take().text == "break";
      nodes.push_back({stops ? Node::Jump::kBreak : Node::Jump::kContinue});
      return close("action");
    }
    auto parsed = pipeline("command", 1);
    if (!parsed) return std::unexpected(parsed.error());
    nodes.push_back({std::move(*parsed)});
    return close("command");
  }

  /// Nothing but white space: such a definition gives way to another one.
  static bool is_blank(const Nodes& nodes) {
    return std::ranges::all_of(nodes, [](const Node& node) {
      const auto* text = std::get_if<std::string>(&node.kind);
      return text != nullptr && text->find_first_not_of(" \t\r\n") == std::string::npos;
    });
  }

  /// The name in quotes behind define, template and block.
  Result<std::string> name(std::string_view context) {
    const auto* text = is(Kind::kLiteral) ? peek().literal.as<std::string>() : nullptr;
    if (text == nullptr) return error("unexpected \"{}\" in {}", peek().text, context);
    std::string out = *text;
    take();
    return out;
  }

  /// The body of a named template up to its end: a world of its own, of whose variables only $ is
  /// there.
  Status definition(const std::string& name) {
    const auto outer = std::exchange(variables_, {});
    const int loops = std::exchange(loops_, 0);
    const int within = std::exchange(within_, within_ + 1);
    auto nodes = body();
    variables_ = outer;
    loops_ = loops;
    within_ = within;
    if (!nodes) return std::unexpected(nodes.error());
    if (end_word_ == Ending::kText) return error("unexpected EOF");
    if (end_word_ == Ending::kElse) return error("unexpected {{{{else}}}} in define clause");
    Nodes& known = definitions_[name];
    if (!is_blank(known) && !is_blank(*nodes))
      return error("template: multiple definition of template \"{}\"", name);
    if (is_blank(known)) known = std::move(*nodes);
    return close("end");
  }

  Status define() {
    if (depth_ > 1 || within_ > 0) return error("unexpected <define> in command");
    take();
    const auto named = name("define clause");
    if (!named) return std::unexpected(named.error());
    if (Status status = close("define clause"); !status) return status;
    return definition(*named);
  }

  Status invoke(Nodes& nodes, std::string_view context) {
    take();
    Invocation made;
    made.line = peek().line;
    auto named = name(context);
    if (!named) return std::unexpected(named.error());
    made.name = std::move(*named);
    if (!is(Kind::kClose)) {
      auto dot = pipeline(context, 1);
      if (!dot) return std::unexpected(dot.error());
      made.dot = std::move(*dot);
    }
    nodes.push_back({std::move(made)});
    return close(context);
  }

  /// A definition that is invoked where it stands.
  Status block(Nodes& nodes) {
    if (Status status = invoke(nodes, "block clause"); !status) return status;
    const auto& made = std::get<Invocation>(nodes.back().kind);
    if (!made.dot) return error("missing value for block clause");
    return definition(made.name);
  }

  Status branch(Nodes& nodes, Branch::Kind kind, std::string_view word) {
    take();
    auto made = std::make_unique<Branch>();
    made->kind = kind;
    const auto scope = variables_.size();
    auto condition = pipeline(word, kind == Branch::Kind::kRange ? 2 : 1);
    if (!condition) return std::unexpected(condition.error());
    made->pipeline = std::move(*condition);
    if (Status status = close(word); !status) return status;
    if (Status status = bodies(*made); !status) return status;
    variables_.resize(scope);
    nodes.push_back({std::move(made)});
    return {};
  }

  Status bodies(Branch& made) {
    if (made.kind == Branch::Kind::kRange) ++loops_;
    auto first = body();
    if (made.kind == Branch::Kind::kRange) --loops_;
    if (!first) return std::unexpected(first.error());
    made.body = std::move(*first);
    if (end_word_ == Ending::kText) return error("unexpected EOF");
    if (end_word_ == Ending::kEnd) return close("end");
    // else: another if, or a body of its own
    if (is_word("if") && made.kind == Branch::Kind::kIf)
      return branch(made.otherwise, made.kind, "if");
    if (Status status = close("else"); !status) return status;
    auto second = body();
    if (!second) return std::unexpected(second.error());
    made.otherwise = std::move(*second);
    if (end_word_ == Ending::kText) return error("unexpected EOF");
    if (end_word_ == Ending::kElse) return error("expected end; found {{{{else}}}}");
    return close("end");
  }

  /// `$x :=`, `$i, $x :=` or nothing.
  Status declaration(Pipeline& out, std::size_t most) {
    const auto start = at_;
    std::vector<std::string> names;
    while (is(Kind::kVariable) && names.size() < most) {
      names.push_back(take().text);
      if (!accept(Kind::kComma)) break;
    }
    if (names.empty() || (!is(Kind::kDeclare) && !is(Kind::kAssign))) {
      at_ = start;
      return {};
    }
    out.declares = take().kind == Kind::kDeclare;
    out.variables = std::move(names);
    return {};
  }

  Result<Pipeline> pipeline(std::string_view context, std::size_t most_variables) {
    if (++depth_ > kMaxDepth) return error("nested too deeply");
    Pipeline out;
    out.line = peek().line;
    if (Status status = declaration(out, most_variables); !status)
      return std::unexpected(status.error());
    do {
      auto one = command();
      if (!one) return std::unexpected(one.error());
      if (one->empty()) return error("missing value for {}", context);
      if (!out.commands.empty() && !std::holds_alternative<const Function*>(one->front().base))
        return error("non executable command in pipeline stage {}", out.commands.size() + 1);
      out.commands.push_back(std::move(*one));
    } while (accept(Kind::kPipe));
    for (const auto& name : out.variables) {
      if (out.declares) {
        variables_.push_back(name);
      } else if (!is_known(name)) {
        return error("undefined variable \"{}\"", name);
      }
    }
    --depth_;
    return out;
  }

  [[nodiscard]] bool is_known(std::string_view name) const {
    return name == "$" || std::ranges::find(variables_, name) != variables_.end();
  }

  Result<Command> command() {
    Command out;
    while (!is(Kind::kClose) && !is(Kind::kPipe) && !is(Kind::kCloseParen)) {
      if (is(Kind::kEnd)) return error("unclosed action");
      if (!out.empty() && peek().joined && !is(Kind::kOpenParen))
        return error("unexpected \"{}\" in operand", peek().text);
      auto next = operand();
      if (!next) return std::unexpected(next.error());
      out.push_back(std::move(*next));
    }
    return out;
  }

  Result<Operand> operand() {
    Operand out;
    switch (peek().kind) {
      case Kind::kDot:
        take();
        out.base = Operand::Dot{};
        return out;
      case Kind::kField:
        out.base = Operand::Dot{};
        out.fields.push_back(take().text);
        break;
      case Kind::kVariable:
        if (!is_known(peek().text)) return error("undefined variable \"{}\"", peek().text);
        out.base = Operand::Variable{take().text};
        break;
      case Kind::kLiteral:
        out.base = take().literal;
        return out;
      case Kind::kWord: {
        const auto* function = find_function(peek().text);
        if (function == nullptr) return error("function \"{}\" not defined", peek().text);
        take();
        out.base = function;
        break;
      }
      case Kind::kOpenParen: {
        take();
        auto inner = pipeline("parenthesized pipeline", 0);
        if (!inner) return std::unexpected(inner.error());
        if (!accept(Kind::kCloseParen)) return error("unclosed left paren");
        out.base = std::make_unique<Pipeline>(std::move(*inner));
        break;
      }
      default:
        return error("unexpected \"{}\" in operand", peek().text);
    }
    while (is(Kind::kField) && peek().joined) out.fields.push_back(take().text);
    return out;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;
  int within_ = 0;  // definitions that are being read
  std::map<std::string, Nodes> definitions_;
  Ending end_word_ = Ending::kText;
  // What Prometheus declares in front of every template of a rule.
  std::vector<std::string> variables_ = {"$labels", "$externalLabels", "$externalURL", "$value"};
};

}  // namespace

Result<Program> parse(std::string_view text, std::string name) {
  const auto named = [&](const Error& error) {
    return fail(error.code(), "template: {}:{}", name, error.message());
  };
  if (text.size() > kMaxText)
    return fail(Errc::kInvalidArgument, "template: {}:1: longer than {} bytes", name, kMaxText);
  auto tokens = tokenize(text);
  if (!tokens) return named(tokens.error());
  auto program = Parser(std::move(*tokens)).run();
  if (!program) return named(program.error());
  program->name = std::move(name);
  return program;
}

}  // namespace nexus::analyze::templates

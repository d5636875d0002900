// From tokens to the tree, with Go's words for what is wrong.
#include <fmt/format.h>

#include <algorithm>

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

  Result<Nodes> run() {
    auto nodes = body();
    if (!nodes) return nodes;
    if (end_word_ == Ending::kEnd) return error("unexpected {{{{end}}}}");
    if (end_word_ == Ending::kElse) return error("unexpected {{{{else}}}}");
    return nodes;
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
    for (const auto word : {"define", "template", "block"}) {
      if (is_word(word)) return error("{} is not supported in rules", word);
    }
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
  auto nodes = Parser(std::move(*tokens)).run();
  if (!nodes) return named(nodes.error());
  return Program{std::move(name), std::move(*nodes)};
}

}  // namespace nexus::analyze::templates

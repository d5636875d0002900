// `check rules` and `test rules`: what promtool's commands of these names do, printed as they do.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <filesystem>

#include "agent/commands/rules.hpp"
#include "nexus/analyze/rule_file.hpp"
#include "nexus/analyze/rule_test.hpp"
#include "nexus/base/markup.hpp"

namespace nexus::agent {
namespace {

constexpr int kBad = 1;
constexpr int kLintFailed = 3;
constexpr std::size_t kMaxInput = 64U << 20U;  // of rules from standard input

struct Lint {
  std::string checks = "duplicate-rules";
  bool fatal = false;
  bool ignore_unknown = false;

  [[nodiscard]] analyze::UnknownFields unknown() const noexcept {
    return ignore_unknown ? analyze::UnknownFields::kIgnored : analyze::UnknownFields::kMistakes;
  }
};

struct TestFlags {
  std::vector<std::string> files;
  std::vector<std::string> names;
  std::string junit;  // a file
  bool debug = false;
  bool ignore_unknown = false;
};

/// Standard output and error in the order of what is said.
void say(std::FILE* stream, std::string_view text) {
  fmt::print(stream, "{}\n", text);
  std::fflush(stream);
}

bool all_exist(const std::vector<std::string>& files) {
  for (const auto& file : files) {
    std::error_code ec;
    if (std::filesystem::exists(file, ec)) continue;
    say(stderr, fmt::format("nexus-agent: error: path '{}' does not exist, try --help", file));
    return false;
  }
  return true;
}

std::string describe(const std::vector<analyze::DuplicateRule>& duplicates) {
  std::string out = fmt::format("lint error {} duplicate rule(s) found.\n", duplicates.size());
  for (const auto& rule : duplicates) {
    out += fmt::format("Metric: {}\nLabel(s):\n", rule.metric);
    for (const auto& [name, value] : rule.labels) out += fmt::format("\t{}: {}\n", name, value);
  }
  return out + "Might cause inconsistency while recording expressions";
}

/// The exit code for one file; `where` begins its complaints.
int judge(const analyze::RuleFile& file, std::string_view where, const Lint& lint) {
  int code = 0;
  if (!file.problems.empty()) {
    say(stderr, "  FAILED:");
    for (const auto& problem : file.problems)
      say(stderr, fmt::format("{}{}{}", where, problem.places, problem.message));
    code = kBad;
  } else {
    const auto duplicates = lint.checks == "none" ? std::vector<analyze::DuplicateRule>()
                                                  : analyze::find_duplicates(file.groups);
    std::size_t rules = 0;
    for (const auto& group : file.groups) rules += group.rules.size();
    if (duplicates.empty()) {
      say(stdout, fmt::format("  SUCCESS: {} rules found", rules));
    } else {
      say(stderr, "  FAILED:\n" + describe(duplicates));
      if (lint.fatal) code = kLintFailed;
    }
  }
  say(stdout, "");
  return code;
}

int check_standard_input(const Lint& lint) {
  say(stdout, "Checking standard input");
  std::string text;
  std::array<char, 4096> part{};
  while (const auto got = std::fread(part.data(), 1, part.size(), stdin)) {
    text.append(part.data(), got);
    if (text.size() > kMaxInput) {
      say(stderr, fmt::format("  FAILED:\nmore than {} bytes", kMaxInput));
      return kBad;
    }
  }
  return judge(analyze::parse_rule_file(text, "standard input", lint.unknown()), "", lint);
}

int check_rules(const std::vector<std::string>& files, const Lint& lint) {
  if (files.empty()) return check_standard_input(lint);
  if (!all_exist(files)) return kBad;
  int worst = 0;
  for (const auto& file : files) {
    say(stdout, "Checking " + file);
    const int code = judge(analyze::load_rule_file(file, lint.unknown()), file + ": ", lint);
    if (code != 0 && worst != kBad) worst = code;
  }
  return worst;
}

/// What stands between tags or quotes of XML, lines too. Other control characters are no XML,
/// however they are written.
std::string xml(std::string_view text) {
  std::string out;
  for (const char c : base::escape_markup(text)) {
    if (c == '\n') {
      out += "&#xA;";
    } else {
      out += static_cast<unsigned char>(c) < 0x20 && c != '\t' ? ' ' : c;
    }
  }
  return out;
}

/// A file's tests as JUnit has them, and most that runs tests reads them.
std::string junit_suite(const std::string& file, const analyze::RuleTestResult& result) {
  std::size_t failures = 0;
  std::string cases;
  for (const auto& one : result.cases) {
    failures += one.failures.size();
    cases += fmt::format("<testcase name=\"{}\">", xml(one.name));
    for (const auto& failure : one.failures) cases += "<failure>" + xml(failure) + "</failure>";
    cases += "</testcase>";
  }
  const bool aborted = result.cases.empty() && !result.failures.empty();
  if (aborted) {
    cases = fmt::format("<testcase name=\"Abort\"><error>{}</error></testcase>",
                        xml(result.failures.front()));
  }
  return fmt::format(
      "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"0\" "
      "timestamp=\"\">{}</testsuite>",
      xml(file), aborted ? 1 : result.cases.size(), failures, aborted ? 1 : 0, cases);
}

bool write_junit(const std::string& path, const std::string& suites) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  bool good = file != nullptr;
  if (good) {
    fmt::print(file, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>{}</testsuites>",
               suites);
    good = std::ferror(file) == 0;
    good = std::fclose(file) == 0 && good;
  }
  if (!good) say(stderr, Error::from_errno("write " + path).message());
  return good;
}

int test_rules(const TestFlags& flags) {
  if (!all_exist(flags.files)) return kBad;
  analyze::RuleTestOptions options;
  options.names = flags.names;
  if (flags.ignore_unknown) options.unknown = analyze::UnknownFields::kIgnored;
  if (flags.debug) {
    options.debug = [](std::string_view line) { say(stdout, fmt::format("DEBUG: {}", line)); };
  }
  int code = 0;
  std::string suites;
  for (const auto& file : flags.files) {
    say(stdout, "Unit Testing:  " + file);
    const auto result = analyze::run_rule_tests(file, options);
    for (const auto& warning : result.warnings) say(stderr, "  WARNING: " + warning);
    if (result.failures.empty()) {
      say(stdout, "  SUCCESS");
    } else {
      code = kBad;
      say(stderr, "  FAILED:");
      for (const auto& failure : result.failures) {
        say(stderr, failure);
        say(stdout, "");
      }
    }
    say(stdout, "");
    suites += junit_suite(file, result);
  }
  return flags.junit.empty() || write_junit(flags.junit, suites) ? code : kBad;
}

}  // namespace

void add_check_rules(CLI::App& check, CommandContext& context) {
  auto* command =
      check.add_subcommand("rules", "Check Prometheus rule files, as promtool check rules does");
  auto files = std::make_shared<std::vector<std::string>>();
  auto lint = std::make_shared<Lint>();
  command->add_option("files", *files, "The rule files; standard input when there are none");
  command->add_option("--lint", lint->checks, "What to look for besides mistakes")
      ->check(CLI::IsMember({"all", "duplicate-rules", "none"}))
      ->capture_default_str();
  command->add_flag("--lint-fatal", lint->fatal, "Exit with 3 when there is something");
  command->add_flag("--ignore-unknown-fields", lint->ignore_unknown,
                    "Fields that are not known are no mistakes");
  command->callback([files, lint, &context] { context.code = check_rules(*files, *lint); });
}

void add_test(CLI::App& app, CommandContext& context) {
  auto* command = app.add_subcommand("test", "Run unit tests");
  command->require_subcommand(1);
  auto* rules =
      command->add_subcommand("rules", "Run unit tests of rules, as promtool test rules does");
  auto flags = std::make_shared<TestFlags>();
  rules->add_option("files", flags->files, "The files of unit tests")->required();
  rules
      ->add_option("--run", flags->names,
                   "Only tests whose name this regular expression is found in")
      ->allow_extra_args(false);
  rules->add_option("--junit", flags->junit, "A file for the results as JUnit's XML");
  rules->add_flag("--debug", flags->debug, "Say which test runs, and all samples at its end");
  rules->add_flag("--ignore-unknown-fields", flags->ignore_unknown,
                  "Fields that are not known are no mistakes");
  rules->callback([flags, &context] { context.code = test_rules(*flags); });
}

}  // namespace nexus::agent

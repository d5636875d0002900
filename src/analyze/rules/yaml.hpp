// YAML into typed values, with the words of Go's yaml for what is wrong, which people know from
// promtool.
//
// A Reader goes through one document and collects every mistake with its line; what is wrong keeps
// its default. Unknown keys (unless they are to be ignored), keys given twice and wrong types are
// mistakes. Positions count from 1. Thread safety: none; one document, one thread.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"

namespace nexus::analyze::yaml {

struct Place {
  int line = 0;  // 0: not there
  int column = 0;
};
[[nodiscard]] Place place_of(const YAML::Node& node);

/// Calls `visit` with the first document, which is null when there is none. A syntax error, also
/// one that shows only while visiting, reads "yaml: line 3: ...".
[[nodiscard]] Status visit(const std::string& text,
                           const std::function<void(const YAML::Node&)>& visit);

/// What is made of keys that nothing reads.
enum class UnknownKeys { kMistakes, kIgnored };

class Reader {
 public:
  explicit Reader(UnknownKeys unknown = UnknownKeys::kMistakes) : unknown_(unknown) {}

  /// A field of a struct: its key and what reads it.
  struct Field {
    std::string_view key;
    std::function<void(const YAML::Node&)> read;
  };
  /// `type` is the name for messages, as in "field x not found in type rulefmt.RuleGroup".
  void object(const YAML::Node& node, std::string_view type, std::initializer_list<Field> fields);
  void list(const YAML::Node& node, std::string_view element_type,
            const std::function<void(const YAML::Node&)>& read);
  void text(const YAML::Node& node, std::string& out);
  void texts(const YAML::Node& node, std::vector<std::string>& out);
  void map(const YAML::Node& node, config::StringMap& out);
  void integer(const YAML::Node& node, std::int64_t& out);
  void number(const YAML::Node& node, double& out);
  void duration(const YAML::Node& node, Millis& out);
  void boolean(const YAML::Node& node, bool& out);
  /// A value of the right type that means nothing.
  void refuse(const YAML::Node& node, std::string_view why) { mistake(node, why); }

  [[nodiscard]] bool ok() const noexcept { return mistakes_.empty() && fatal_.empty(); }
  /// Of the first mistake; 0 when none has a line.
  [[nodiscard]] int line() const noexcept { return line_; }
  /// All mistakes: "yaml: unmarshal errors:\n  line 3: ...", or the one that ends reading.
  [[nodiscard]] std::string message() const;

 private:
  void mistake(const YAML::Node& node, std::string_view what);
  void wrong_type(const YAML::Node& node, std::string_view type);

  UnknownKeys unknown_;
  std::vector<std::string> mistakes_;
  std::string fatal_;
  int line_ = 0;
};

}  // namespace nexus::analyze::yaml

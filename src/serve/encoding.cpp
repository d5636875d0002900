#include "serve/encoding.hpp"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <optional>

#include "nexus/base/result.hpp"
#include "nexus/base/text.hpp"
#include "nexus/serve/http.hpp"

namespace nexus::serve {
namespace {

/// The weight of `token` in a header like "gzip;q=0.5, zstd"; `star` stands for "*" or "*/*".
std::optional<double> weight_of(std::string_view header, std::string_view token,
                                std::string_view star) {
  std::optional<double> wild;
  while (!header.empty()) {
    auto item = base::take_until(header, ',');
    const auto name = base::trim(base::take_until(item, ';'));
    double q = 1;
    while (!item.empty()) {
      const auto parameter = base::trim(base::take_until(item, ';'));
      if (parameter.starts_with("q=")) q = base::parse_double(parameter.substr(2)).value_or(0);
    }
    if (is_media_type(name, token)) return q;
    if (name == star) wild = q;
  }
  return wild;
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;  // zlib: 16 more asks for the gzip wrapper
  NEXUS_CHECK(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) ==
              Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  NEXUS_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const auto size = ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1);
  NEXUS_CHECK(ZSTD_isError(size) == 0);
  out.resize(size);
  return out;
}

}  // namespace

Coding choose_coding(std::string_view accept_encoding) {
  const double zstd_weight = weight_of(accept_encoding, "zstd", "*").value_or(0);
  const double gzip_weight = weight_of(accept_encoding, "gzip", "*").value_or(0);
  if (zstd_weight <= 0 && gzip_weight <= 0) return Coding::kIdentity;
  return zstd_weight >= gzip_weight ? Coding::kZstd : Coding::kGzip;
}

std::string_view to_string(Coding coding) noexcept {
  switch (coding) {
    case Coding::kIdentity:
      return "identity";
    case Coding::kGzip:
      return "gzip";
    case Coding::kZstd:
      return "zstd";
  }
  return "identity";
}

std::string compress(std::string_view text, Coding coding) {
  switch (coding) {
    case Coding::kIdentity:
      return std::string(text);
    case Coding::kGzip:
      return gzip(text);
    case Coding::kZstd:
      return zstd(text);
  }
  return std::string(text);
}

bool wants_open_metrics(std::string_view accept) {
  const double open = weight_of(accept, "application/openmetrics-text", "").value_or(0);
  const double text = weight_of(accept, "text/plain", "*/*").value_or(0);
  return open > 0 && open >= text;
}

knowledge::NameEscaping choose_escaping(std::string_view accept, bool open_metrics) {
  const std::string_view wanted = open_metrics ? "application/openmetrics-text" : "text/plain";
  while (!accept.empty()) {
    auto item = base::take_until(accept, ',');
    if (!is_media_type(base::trim(base::take_until(item, ';')), wanted)) continue;
    while (!item.empty()) {
      auto parameter = base::trim(base::take_until(item, ';'));
      if (base::trim(base::take_until(parameter, '=')) != "escaping") continue;
      if (const auto known = knowledge::parse_name_escaping(base::trim(parameter))) return *known;
    }
    break;
  }
  return knowledge::NameEscaping::kUnderscores;
}

std::string to_open_metrics(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 64);
  std::string_view help;  // held back until the TYPE line says what the family is called
  while (!text.empty()) {
    const auto line = base::take_until(text, '\n');
    if (line.starts_with("# HELP ")) {
      help = line.substr(7);
      continue;
    }
    if (!line.starts_with("# TYPE ")) {
      out += line;
      out += '\n';
      continue;
    }
    const std::size_t blank = line.rfind(' ');  // a name in quotes may have some of its own
    auto name = line.substr(7, blank - 7);
    std::string_view type = line.substr(blank + 1);
    const auto full = name;
    const bool is_quoted = name.starts_with('"');
    std::string shorter;
    if (type == "counter" && name.ends_with("_total")) {
      name.remove_suffix(6);
    } else if (type == "counter" && is_quoted && name.ends_with("_total\"")) {
      shorter = std::string(name.substr(0, name.size() - 7)) + '"';
      name = shorter;
    } else if (type == "counter" || type == "untyped") {
      type = "unknown";
    }
    if (help.starts_with(full))
      fmt::format_to(std::back_inserter(out), "# HELP {}{}\n", name, help.substr(full.size()));
    fmt::format_to(std::back_inserter(out), "# TYPE {} {}\n", name, type);
    help = {};
  }
  out += "# EOF\n";
  return out;
}

}  // namespace nexus::serve

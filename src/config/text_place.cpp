#include "nexus/config/text_place.hpp"

#include <algorithm>

#include "config/document.hpp"
#include "config/files.hpp"

namespace nexus::config {
namespace {

const Node* step(const Node* at, std::string_view key) {
  const Table* table = at == nullptr ? nullptr : at->as<Table>();
  const Entry* entry = table == nullptr ? nullptr : find(*table, key);
  return entry == nullptr ? nullptr : &entry->value;
}

}  // namespace

Where place_of_alert_text(const Where& table, std::string_view path) {
  const auto file = read_file(table.file, kLargestFile);
  if (!file) return table;
  const Document document = parse_document(file->text, table.file);
  const Node* all = step(&document.root, "alert");
  const Array* alerts = all == nullptr ? nullptr : all->as<Array>();
  if (alerts == nullptr) return table;
  const auto found = std::ranges::find(*alerts, table, &Node::where);
  const Node* at = found == alerts->end() ? nullptr : &*found;
  for (std::size_t begin = 0; at != nullptr && begin <= path.size();) {
    const auto end = std::min(path.find('.', begin), path.size());
    at = step(at, path.substr(begin, end - begin));
    begin = end + 1;
  }
  return at == nullptr ? table : at->where;
}

}  // namespace nexus::config

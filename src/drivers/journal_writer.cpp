#include "nexus/drivers/journal_writer.hpp"

#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

namespace nexus::drivers {

Status journal_send(const JournalFields& fields) {
  // Without a listener the library throws the entry away and says that all is well.
  constexpr const char* kSocket = "/run/systemd/journal/socket";
  if (::access(kSocket, W_OK) != 0) return std::unexpected(Error::from_errno(kSocket));
  std::vector<std::string> texts;
  texts.reserve(fields.size());
  for (const auto& [name, value] : fields) texts.push_back(name + "=" + value);
  std::vector<iovec> parts;
  parts.reserve(texts.size());
  for (auto& text : texts) parts.push_back({text.data(), text.size()});
  const int result = ::sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
  if (result < 0) return std::unexpected(Error::from_errno(-result, "write to the journal"));
  return {};
}

}  // namespace nexus::drivers

#include "monitor/process_events.hpp"

#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "nexus/base/loop_thread.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr int kSocketBuffer = 1 << 20;   // about a thousand events
constexpr std::size_t kManyEvents = 64;  // in one drain: then wait before the next
constexpr int kPauseMillis = 20;
constexpr int kAnswerMillis = 500;           // for the kernel's answer to "listen"
constexpr std::size_t kNamesASecond = 200;   // that are read from /proc
constexpr std::size_t kEventsADrain = 4096;  // so that a flood cannot hold the thread for ever
constexpr std::uint64_t kSecond = 1'000'000'000;

/// cn_msg without the data behind it, which C++ has no member for.
struct ConnectorHead {
  cb_id id;
  std::uint32_t seq;
  std::uint32_t ack;
  std::uint16_t len;
  std::uint16_t flags;
};
static_assert(sizeof(ConnectorHead) == sizeof(cn_msg));

struct Listen {
  nlmsghdr head;
  ConnectorHead message;
  proc_cn_mcast_op operation;
} __attribute__((packed));

Status listen_on(int socket) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = CN_IDX_PROC;
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return std::unexpected(Error::from_errno("process connector: bind"));
  Listen request{};
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = NLMSG_DONE;
  request.message.id.idx = CN_IDX_PROC;
  request.message.id.val = CN_VAL_PROC;
  request.message.len = sizeof request.operation;
  request.operation = PROC_CN_MCAST_LISTEN;
  if (::send(socket, &request, sizeof request, 0) < 0)
    return std::unexpected(Error::from_errno("process connector: send"));
  return {};
}

/// The event that a datagram carries.
std::optional<proc_event> event_of(Bytes datagram) {
  if (datagram.size() < sizeof(nlmsghdr) + sizeof(ConnectorHead)) return std::nullopt;
  const auto message = read_as<ConnectorHead>(datagram.subspan(sizeof(nlmsghdr)));
  if (message->id.idx != CN_IDX_PROC) return std::nullopt;
  return read_padded<proc_event>(datagram.subspan(sizeof(nlmsghdr) + sizeof(ConnectorHead)));
}

/// The kernel answers whether it lets us listen; a kernel without the connector says nothing.
Status await_answer(int socket) {
  std::array<std::byte, 4096> bytes{};
  for (;;) {
    pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, kAnswerMillis);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(Errc::kUnsupported, "process connector: no answer of the kernel");
    const ssize_t size = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size < 0) continue;
    const auto event = event_of(Bytes(bytes).first(static_cast<std::size_t>(size)));
    if (!event) continue;
    if (event->what != 0) return {};  // events come: it does
    const auto error = static_cast<int>(event->event_data.ack.err);
    if (error != 0) return std::unexpected(Error::from_errno(error, "process connector: listen"));
    return {};
  }
}

}  // namespace

Result<std::unique_ptr<ProcessEvents>> ProcessEvents::open(const std::string& procfs,
                                                           Nanos short_life) {
  host::Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR));
  if (!socket) return std::unexpected(Error::from_errno("process connector: socket"));
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer,
                   sizeof kSocketBuffer) != 0)
    static_cast<void>(
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer));
  if (Status listening = listen_on(socket.get()); !listening)
    return propagate(std::move(listening));
  if (Status answered = await_answer(socket.get()); !answered)
    return propagate(std::move(answered));
  host::Fd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop) return std::unexpected(Error::from_errno("eventfd"));
  return std::unique_ptr<ProcessEvents>(
      new ProcessEvents(procfs, short_life, std::move(socket), std::move(stop)));
}

ProcessEvents::ProcessEvents(std::string procfs, Nanos short_life, host::Fd socket, host::Fd stop)
    : procfs_(std::move(procfs)),
      short_life_(static_cast<std::uint64_t>(short_life.count())),
      socket_(std::move(socket)),
      stop_(std::move(stop)),
      births_(kBirths),
      buffer_(4096),
      thread_([this] {
        base::name_this_thread("process-events");
        run();
      }) {}

ProcessEvents::~ProcessEvents() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(stop_.get(), &one, sizeof one) == sizeof one);
  thread_.join();
}

ProcessEvents::Counts ProcessEvents::counts() const {
  const std::lock_guard guard(mutex_);
  return counts_;
}

void ProcessEvents::run() {
  for (;;) {
    std::array<pollfd, 2> waiting = {pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = socket_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
    if (waiting[0].revents != 0) return;
    const std::size_t events = drain();
    {
      const std::lock_guard guard(mutex_);
      counts_ = pending_;
    }
    // Under load the next wake-up serves many; the stop is still seen at once.
    if (events >= kManyEvents && ::poll(waiting.data(), 1, kPauseMillis) > 0) return;
  }
}

std::size_t ProcessEvents::drain() {
  std::size_t events = 0;
  while (events < kEventsADrain) {
    const ssize_t size = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      if (errno == ENOBUFS) {
        ++pending_.lost;
        continue;
      }
      return events;
    }
    ++events;
    take(Bytes(buffer_).first(static_cast<std::size_t>(size)));
  }
  return events;
}

void ProcessEvents::take(Bytes datagram) {
  if (const auto event = event_of(datagram)) take_event(*event);
}

void ProcessEvents::take_event(const proc_event& event) {
  if (event.what == proc_event::PROC_EVENT_FORK) {
    const auto& fork = event.event_data.fork;
    if (fork.child_pid != fork.child_tgid) {
      ++pending_.threads;
      return;
    }
    ++pending_.forks;
    Birth& birth = birth_of(fork.child_pid);
    birth = {fork.child_pid, event.timestamp_ns, {}};
  } else if (event.what == proc_event::PROC_EVENT_EXEC) {
    ++pending_.execs;
    Birth& birth = birth_of(event.event_data.exec.process_tgid);
    if (birth.pid == event.event_data.exec.process_tgid) read_name(birth, event.timestamp_ns);
  } else if (event.what == proc_event::PROC_EVENT_EXIT) {
    end(event);
  }
}

void ProcessEvents::end(const proc_event& event) {
  const auto& exit = event.event_data.exit;
  if (exit.process_pid != exit.process_tgid) return;  // a thread
  const unsigned status = exit.exit_code;             // as wait(2) gives it
  if ((status & 0x7f) != 0) {
    ++pending_.exits_killed;
  } else {
    ++(status != 0 ? pending_.exits_failed : pending_.exits_ok);
  }
  Birth& birth = birth_of(exit.process_pid);
  if (birth.pid != exit.process_pid) return;  // born before we listened, or its place was taken
  if (event.timestamp_ns - birth.time < short_life_) {
    ++pending_.short_lived;
    count_name(birth.name[0] != '\0' ? std::string_view(birth.name.data()) : "(none)");
  }
  birth.pid = 0;
}

/// It may have ended already: then it stays without a name.
void ProcessEvents::read_name(Birth& birth, std::uint64_t now) {
  const std::uint64_t second = now / kSecond;
  if (std::exchange(names_second_, second) != second) names_read_ = 0;
  if (++names_read_ > kNamesASecond) return;
  const std::string path = fmt::format("{}/{}/comm", procfs_, birth.pid);
  const host::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t size = fd ? ::read(fd.get(), birth.name.data(), birth.name.size() - 1) : -1;
  if (size <= 0) return;
  birth.name[static_cast<std::size_t>(size)] = '\0';
  std::ranges::replace(birth.name, '\n', '\0');
}

void ProcessEvents::count_name(std::string_view name) {
  auto& names = pending_.names;
  const std::string clean = base::sanitize_utf8(name);
  auto found = std::ranges::find(names, clean, [](const auto& entry) { return entry.first; });
  if (found == names.end() && names.size() >= kNames) {
    found = std::ranges::find(names, "(other)", [](const auto& entry) { return entry.first; });
    if (found == names.end()) found = names.insert(names.end(), {"(other)", 0});
  } else if (found == names.end()) {
    found = names.insert(names.end(), {clean, 0});
  }
  ++found->second;
}

}  // namespace nexus::monitor

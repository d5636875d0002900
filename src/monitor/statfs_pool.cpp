#include "monitor/statfs_pool.hpp"

#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>

#include "nexus/base/abandon.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"

namespace nexus::monitor {
namespace {

// A statfs of a healthy filesystem takes microseconds. After this long the rest is given to another
// helper.
constexpr Millis kPatience{50};

struct Question {
  std::string path;
  StatfsAnswer answer;
  bool taken = false;
};

struct Helper {
  std::thread thread;
  bool inside = false;  // a statfs
};

}  // namespace

int system_statfs(const std::string& path, FilesystemUsage& usage) {
  struct statfs raw{};
  if (::statfs(path.c_str(), &raw) != 0) return errno;
  const auto block = static_cast<double>(raw.f_bsize);
  usage.size = static_cast<double>(raw.f_blocks) * block;
  usage.free = static_cast<double>(raw.f_bfree) * block;
  usage.available = static_cast<double>(raw.f_bavail) * block;
  usage.files = static_cast<double>(raw.f_files);
  usage.files_free = static_cast<double>(raw.f_ffree);
  usage.readonly = (raw.f_flags & ST_RDONLY) != 0;
  return 0;
}

/// Co-owned by every helper; all guarded by `mutex`, but for the constant function.
struct StatfsPool::State {
  explicit State(StatfsFunction f) : function(std::move(f)) {}

  void help(const std::shared_ptr<Helper>& me);
  [[nodiscard]] bool all_inside() const {
    return std::ranges::all_of(helpers, [](const auto& helper) { return helper->inside; });
  }

  const StatfsFunction function;
  std::mutex mutex;
  std::condition_variable work;
  std::condition_variable done;
  std::deque<std::shared_ptr<Question>> queue;
  std::unordered_map<std::string, std::shared_ptr<Question>>
      open;  // by path: queued, or inside a statfs
  std::vector<std::shared_ptr<Helper>> helpers;
  bool stopping = false;
};

void StatfsPool::State::help(const std::shared_ptr<Helper>& me) {
  std::unique_lock lock(mutex);
  while (true) {
    work.wait(lock, [this] { return stopping || !queue.empty(); });
    if (stopping) return;
    const std::shared_ptr<Question> question = std::move(queue.front());
    queue.pop_front();
    question->taken = true;
    me->inside = true;
    lock.unlock();
    StatfsAnswer answer;
    answer.error = function(question->path, answer.usage);
    answer.kind = answer.error == 0 ? StatfsAnswer::Kind::kOk : StatfsAnswer::Kind::kFailed;
    lock.lock();
    me->inside = false;
    question->answer = answer;
    open.erase(question->path);
    if (queue.empty()) done.notify_all();
  }
}

StatfsPool::StatfsPool(Clock& clock, StatfsFunction function, std::size_t max_helpers)
    : clock_(clock),
      max_helpers_(max_helpers),
      state_(std::make_shared<State>(std::move(function))) {}

StatfsPool::~StatfsPool() {
  std::vector<std::thread> idle;
  std::vector<std::thread> stuck;
  {
    const std::lock_guard guard(state_->mutex);
    state_->stopping = true;
    for (const auto& helper : state_->helpers) {
      (helper->inside ? stuck : idle).push_back(std::move(helper->thread));
    }
    state_->work.notify_all();
  }
  for (std::thread& thread : idle) thread.join();
  for (std::thread& thread : stuck) base::abandon(std::move(thread));
}

/// With the mutex held.
void StatfsPool::add_helper() {
  auto helper = std::make_shared<Helper>();
  try {
    helper->thread = std::thread([state = state_, helper] {
      base::name_this_thread("collect-statfs");
      state->help(helper);
    });
  } catch (const std::system_error& refused) {
    log::error("monitor", "cannot start a thread for statfs: {}", refused.what());
    return;
  }
  state_->helpers.push_back(std::move(helper));
}

void StatfsPool::probe(std::span<const std::string> paths, SteadyTime deadline,
                       std::vector<StatfsAnswer>& answers) {
  answers.assign(paths.size(), StatfsAnswer{});
  std::vector<std::shared_ptr<Question>> asked(paths.size());
  std::unique_lock lock(state_->mutex);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto [entry, is_new] = state_->open.try_emplace(paths[i]);
    if (!is_new) {
      // Two file systems mounted on one place: one question answers both. Otherwise it was asked in
      // an earlier run and is still open.
      const auto same = std::ranges::find(paths.first(i), paths[i]);
      if (same != paths.begin() + static_cast<std::ptrdiff_t>(i))
        asked[i] = asked[static_cast<std::size_t>(same - paths.begin())];
      continue;
    }
    entry->second = asked[i] = std::make_shared<Question>(Question{paths[i], {}, false});
    state_->queue.push_back(asked[i]);
  }
  const auto answered = [&] {
    return std::ranges::all_of(asked, [](const auto& q) {
      return q == nullptr || q->answer.kind != StatfsAnswer::Kind::kPending;
    });
  };
  while (!answered()) {
    if (!state_->queue.empty() && state_->all_inside()) {
      if (state_->helpers.size() >= max_helpers_) break;
      add_helper();
    }
    state_->work.notify_one();
    const SteadyTime now = clock_.steady();
    if (now >= deadline) break;
    clock_.wait_until(lock, state_->done, std::min(deadline, now + kPatience), answered);
  }
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (asked[i] != nullptr) answers[i] = asked[i]->answer;
  }
  // What no helper has taken is withdrawn, so that it can be asked anew.
  for (const auto& question : state_->queue) state_->open.erase(question->path);
  state_->queue.clear();
}

std::size_t StatfsPool::helpers() const {
  const std::lock_guard guard(state_->mutex);
  return state_->helpers.size();
}

}  // namespace nexus::monitor

// Collectors on damaged files: each file of a recorded host cut off and altered at many places, for
// all collectors that open it. They may complain, but never crash, never say much, and never give
// more than there could be.
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "monitor/host_tree.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/host/file.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;

namespace fs = std::filesystem;

namespace {

// Bytes from one damage to the next, fewer in a short file; prime, so that the columns vary.
constexpr std::size_t kStep = 97;
constexpr std::size_t kLongestError = 600;  // bytes, of which the path of the tree is the most

/// Which files of a tree are opened.
class Watch {
 public:
  explicit Watch(const std::string& tree) : fd_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    REQUIRE(fd_);
    add(tree, "");
    for (const auto& entry : fs::recursive_directory_iterator(tree)) {
      if (entry.is_directory() && !entry.is_symlink())
        add(entry.path().string(), fs::relative(entry.path(), tree).string() + "/");
    }
  }
  /// Since the last call; relative to the tree.
  std::set<std::string> take() {
    std::set<std::string> out;
    alignas(inotify_event) std::array<char, 64U << 10> buffer;
    for (;;) {
      const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
      if (got <= 0) return out;
      for (ssize_t at = 0; at < got;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        at += static_cast<ssize_t>(sizeof *event + event->len);
        REQUIRE((event->mask & IN_Q_OVERFLOW) == 0);
        if (event->len > 0 && (event->mask & IN_ISDIR) == 0)
          out.insert(directories_.at(event->wd) + event->name);
      }
    }
  }

 private:
  void add(const std::string& path, std::string relative) {
    const int watch = ::inotify_add_watch(fd_.get(), path.c_str(), IN_OPEN | IN_ONLYDIR);
    REQUIRE(watch >= 0);
    directories_.emplace(watch, std::move(relative));
  }

  const host::Fd fd_;
  std::map<int, std::string> directories_;
};

struct Subject {
  std::unique_ptr<CollectorRig> rig;
  std::string_view name;
  std::size_t healthy = 0;      // samples of the undamaged tree
  std::set<std::string> files;  // that it opened there
};

/// Those that find something to read in the undamaged tree.
std::vector<Subject> make_subjects(const host::Roots& roots, const std::string& tree) {
  std::vector<Subject> subjects;
  Watch watch(tree);
  for (const CollectorDescriptor* descriptor : collectors()) {
    if (!is_file_based(descriptor->name)) continue;
    Subject subject{
        .rig = std::make_unique<CollectorRig>(descriptor->name, roots, config::Parameters{},
                                              RecordingSink::Keep::kCountOnly),
        .name = descriptor->name};
    const Status done = subject.rig->run();
    subject.files = watch.take();
    if (!done && done.error().code() == Errc::kNotFound) continue;
    INFO(descriptor->name << (done ? "" : done.error().message()));
    REQUIRE(done);
    subject.healthy = subject.rig->sink.count();
    subjects.push_back(std::move(subject));
  }
  return subjects;
}

/// What a damage may do to those who open the file.
void run_readers(std::vector<Subject>& subjects, const std::string& file) {
  for (Subject& subject : subjects) {
    if (!subject.files.contains(file)) continue;
    // Groups of processes stay for a while after the last one has ended; not that long.
    subject.rig->clock.advance(std::chrono::minutes(11));
    const Status done = subject.rig->run();
    const std::size_t count = subject.rig->sink.count();
    const bool bounded = count <= subject.healthy + 64;
    const bool clear =
        done || (done.error().message().size() < kLongestError && !done.error().message().empty() &&
                 base::is_valid_utf8(done.error().message()));
    if (bounded && clear) continue;
    INFO(subject.name << ": " << count << " samples, " << (done ? "" : done.error().message()));
    CHECK(bounded);
    CHECK(clear);
  }
}

}  // namespace

TEST_CASE("files cut off and altered anywhere: no crash, bounded output, a clear error") {
  // The server has five small files for every one of the small machine's: they are damaged at fewer
  // places.
  const auto [host, most_places, least] =
      GENERATE(table<std::string_view, std::size_t, std::size_t>(
          {{"small-vm", 1'000, 300}, {"server", 12, 1'500}}));
  const TemporaryTree tree;
  fs::copy(host_path(host), tree.path(),
           fs::copy_options::recursive | fs::copy_options::overwrite_existing |
               fs::copy_options::copy_symlinks);
  auto subjects = make_subjects(tree.roots(), tree.path());
  std::mt19937 random(97);
  std::size_t damages = 0;
  std::set<std::string> files;
  for (const Subject& subject : subjects) files.insert(subject.files.begin(), subject.files.end());
  for (const std::string& path : files) {
    const std::string healthy = host::read_file(tree.path() + "/" + path).value();
    INFO(path);
    // A new file each time: to write over one has ext4 wait for the disk.
    const auto put = [&](std::string_view text) {
      fs::remove(tree.path() + "/" + path);
      tree.write(path, text);
    };
    const std::size_t step = std::max(std::clamp<std::size_t>(healthy.size() / 8, 1, kStep),
                                      healthy.size() / most_places);
    for (std::size_t at = 0; at < healthy.size(); at += step, ++damages) {
      put(std::string_view(healthy).substr(0, at));
      run_readers(subjects, path);
      std::string altered = healthy;
      for (int i = 0; i < 4; ++i) {
        altered[random() % altered.size()] = static_cast<char>(random() % 256);
      }
      put(altered);
      run_readers(subjects, path);
    }
    put(healthy);
  }
  CHECK(damages > least);
  // What was damaged and is whole again is read again as before.
  for (Subject& subject : subjects) {
    INFO(subject.name);
    subject.rig->clock.advance(std::chrono::minutes(11));
    CHECK(subject.rig->run());
    // A state of processes that was seen once is told as 0 from then on.
    const std::size_t count = subject.rig->sink.count();
    CHECK((subject.name == "processes" ? count >= subject.healthy : count == subject.healthy));
    for (FamilyId id = 0; id < subject.rig->registry.families(); ++id) {
      CHECK(std::ranges::all_of(subject.rig->registry.family(id).name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
      }));
    }
  }
}

TEST_CASE("a tree without any file is no data or an error of every collector, never a crash") {
  const TemporaryTree tree;
  for (const CollectorDescriptor* descriptor : collectors()) {
    if (!is_file_based(descriptor->name)) continue;
    CollectorRig rig(descriptor->name, tree.roots());
    const Status done = rig.run();
    INFO(descriptor->name);
    CHECK((done.has_value() || !done.error().message().empty()));
  }
}

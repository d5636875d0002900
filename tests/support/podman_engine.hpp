// Podman's service that speaks Docker's API, with data, sockets and configuration of its own, and
// one image made of busybox-static. Needs root. Thread safety: one thread.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "nexus/drivers/docker.hpp"
#include "support/server.hpp"

namespace nexus::test {

class PodmanEngine {
 public:
  PodmanEngine() {
    for (const auto* name : {"run", "data", "tmp", "root/bin"})
      std::filesystem::create_directories(directory_.file(name));
    // runc, and limits that are allowed everywhere; nothing of the machine's own configuration, and
    // locks of its own: those in shared memory are one set for all engines of the machine, made by
    // the first and freed by each that starts.
    write("containers.conf",
          "[engine]\nruntime = \"runc\"\nevents_logger = \"file\"\nlock_type = \"file\"\n"
          "cgroup_manager = \"cgroupfs\"\ntmp_dir = \"" +
              directory_.file("tmp") + "\"\nstatic_dir = \"" + directory_.file("data/libpod") +
              "\"\nvolume_path = \"" + directory_.file("data/volumes") +
              "\"\n[containers]\nlog_driver = \"k8s-file\"\n"
              "default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n");
    write("storage.conf", "[storage]\ndriver = \"vfs\"\nrunroot = \"" + directory_.file("run") +
                              "\"\ngraphroot = \"" + directory_.file("data") + "\"\n");
    make_image();
    server_ = std::make_unique<Server>(
        User{0, 0}, podman({"system", "service", "--time=0", "unix://" + socket()}),
        directory_.file("log"));
    server_->start();
    if (!eventually([this] { return engine().request("GET", "/_ping", {}, soon()).has_value(); }))
      throw std::runtime_error("podman does not start: see " + directory_.file("log"));
  }
  ~PodmanEngine() {
    Server(User{0, 0}, podman({"rm", "--all", "--force", "--time=0"}), directory_.file("rm-log"))
        .run();
    server_->stop(SIGTERM);
    // conmon has podman clean up behind every container that ended; that must not write into a
    // directory that is being removed.
    static_cast<void>(eventually([this] { return !is_used(); }));
  }

  [[nodiscard]] std::string socket() const { return directory_.file("podman.sock"); }
  [[nodiscard]] drivers::Docker engine() { return {clock_, socket()}; }
  [[nodiscard]] SteadyTime soon() const { return clock_.steady() + std::chrono::seconds(30); }

  void run(const std::string& name, const std::string& command) {
    const auto post = [this](const std::string& path, const std::string& json) {
      const auto done = engine().request("POST", path, json, soon());
      if (!done) throw std::runtime_error(done.error().message());
    };
    post("/containers/create?name=" + name,
         R"({"Image": "localhost/busybox:test", "Cmd": ["sh", "-c", ")" + command +
             R"("], "Labels": {"com.docker.compose.project": "shop"},
                 "HostConfig": {"NetworkMode": "host"}})");
    post("/containers/" + name + "/start", {});
  }

 private:
  /// Whether a program runs that was told of the directory.
  [[nodiscard]] bool is_used() const {
    std::error_code ignored;
    const std::filesystem::directory_iterator end;
    for (auto process = std::filesystem::directory_iterator("/proc", ignored); process != end;
         process.increment(ignored)) {
      std::ifstream file(process->path() / "cmdline", std::ios::binary);
      const std::string words{std::istreambuf_iterator<char>(file), {}};
      if (words.contains(directory_.path())) return true;
    }
    return false;
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_.file(name)) << text;
  }
  [[nodiscard]] std::vector<std::string> podman(std::vector<std::string> words) const {
    std::vector<std::string> argv = {"/usr/bin/env",
                                     "CONTAINERS_CONF=" + directory_.file("containers.conf"),
                                     "CONTAINERS_STORAGE_CONF=" + directory_.file("storage.conf"),
                                     "TMPDIR=" + directory_.file("tmp"), "/usr/bin/podman"};
    argv.insert(argv.end(), words.begin(), words.end());
    return argv;
  }
  void make_image() {
    std::filesystem::copy_file("/bin/busybox", directory_.file("root/bin/busybox"));
    for (const auto* name : {"sh", "sleep"})
      std::filesystem::create_symlink("busybox", directory_.file("root/bin/") + name);
    const auto run = [this](std::vector<std::string> argv) {
      if (Server(User{0, 0}, std::move(argv), directory_.file("image-log")).run() != 0)
        throw std::runtime_error("no image: see " + directory_.file("image-log"));
    };
    run({"/bin/tar", "-cf", directory_.file("image.tar"), "-C", directory_.file("root"), "."});
    run(podman({"import", "--quiet", directory_.file("image.tar"), "busybox:test"}));
  }

  TemporaryDirectory directory_;
  base::SystemClock clock_;
  std::unique_ptr<Server> server_;
};

}  // namespace nexus::test

// A dockerd of the package docker.io, with data, sockets and names of its own, and one image made
// of busybox-static. Needs root. Thread safety: one thread.
#pragma once

#include <sys/mount.h>

#include <filesystem>
#include <memory>

#include "nexus/drivers/docker.hpp"
#include "support/server.hpp"

namespace nexus::test {

class DockerEngine {
 public:
  DockerEngine() {
    start();
    make_image();
  }
  ~DockerEngine() {
    if (!server_) return;
    if (const auto all = engine().containers(soon(), 100)) {
      for (const auto& one : *all)
        (void)engine().request("DELETE", "/containers/" + one.id + "?force=true", {}, soon());
    }
    stop();
  }

  void start() {
    server_ = std::make_unique<Server>(
        User{0, 0},
        std::vector<std::string>{"/usr/sbin/dockerd", "--bridge=none", "--iptables=false",
                                 "--ip6tables=false", "--data-root=" + directory_.file("data"),
                                 "--exec-root=" + directory_.file("exec"),
                                 "--pidfile=" + directory_.file("pid"), "--host=unix://" + socket(),
                                 "--storage-driver=vfs", "--group=root"},
        directory_.file("log"));
    server_->start();
    if (!eventually([this] { return engine().request("GET", "/_ping", {}, soon()).has_value(); }))
      throw std::runtime_error("dockerd does not start: see " + directory_.file("log"));
  }
  void stop() {
    server_->stop(SIGTERM);  // ends its containerd too
    server_.reset();
    ::umount2(directory_.file("exec/netns/default").c_str(), MNT_DETACH);  // it leaves this behind
  }
  void freeze() const { server_->signal(SIGSTOP); }
  void thaw() const { server_->signal(SIGCONT); }

  [[nodiscard]] std::string socket() const { return directory_.file("docker.sock"); }
  [[nodiscard]] drivers::Docker engine() { return {clock_, socket()}; }
  [[nodiscard]] SteadyTime soon() const { return clock_.steady() + std::chrono::seconds(30); }

  /// Makes and starts a container; `more` are members of the JSON: R"("Healthcheck": {...})".
  void run(const std::string& name, const std::string& command, const std::string& more = {},
           const std::string& host = {}) {
    const auto post = [this](const std::string& path, const std::string& json) {
      const auto done = engine().request("POST", path, json, soon());
      if (!done) throw std::runtime_error(done.error().message());
    };
    post("/containers/create?name=" + name,
         R"({"Image": "busybox:test", "Cmd": ["sh", "-c", ")" + command + "\"]" +
             (more.empty() ? "" : ", " + more) + R"(, "HostConfig": {"NetworkMode": "host")" +
             (host.empty() ? "" : ", " + host) + "}}");
    post("/containers/" + name + "/start", {});
  }

 private:
  void make_image() {
    std::filesystem::create_directories(directory_.file("root/bin"));
    std::filesystem::copy_file("/bin/busybox", directory_.file("root/bin/busybox"));
    for (const auto* name : {"sh", "sleep", "true", "false"})
      std::filesystem::create_symlink("busybox", directory_.file("root/bin/") + name);
    Server tar(
        User{0, 0},
        {"/bin/tar", "-cf", directory_.file("image.tar"), "-C", directory_.file("root"), "."},
        directory_.file("tar-log"));
    if (tar.run() != 0) throw std::runtime_error("tar failed");
    std::ifstream file(directory_.file("image.tar"), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    const auto made =
        engine().request("POST", "/images/create?fromSrc=-&repo=busybox&tag=test", bytes, soon());
    if (!made) throw std::runtime_error(made.error().message());
  }

  TemporaryDirectory directory_;
  base::SystemClock clock_;
  std::unique_ptr<Server> server_;
};

inline DockerEngine& docker_engine() {
  static DockerEngine engine;
  return engine;
}

}  // namespace nexus::test

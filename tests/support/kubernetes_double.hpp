// Starts tests/doubles/kubernetes_api. Thread safety: one thread.
#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "support/server.hpp"

namespace nexus::test {

class KubernetesDouble {
 public:
  explicit KubernetesDouble(std::string_view state) {
    set(state);
    server_ = std::make_unique<Server>(
        User{::geteuid(), ::getegid()},
        std::vector<std::string>{"/usr/bin/python3", "-B",
                                 NEXUS_TEST_DATA "/doubles/kubernetes_api/server.py", "--directory",
                                 directory_.path()},
        directory_.file("log"));
    server_->start();
    if (!eventually([this] { return std::filesystem::exists(directory_.file("port")); }))
      throw std::runtime_error("the Kubernetes double does not start: " + read("log"));
  }

  /// The whole state.json, in JSON; atomically.
  void set(std::string_view state) {
    state_ = boost::json::parse(boost::json::string_view(state.data(), state.size())).as_object();
    directory_.write("state.json.next", state);
    std::filesystem::rename(directory_.file("state.json.next"), directory_.file("state.json"));
  }
  /// The state with "faults" for one path.
  void fault(std::string_view path, std::string_view fault) {
    auto state = state_;
    state["faults"] = {{boost::json::string_view(path.data(), path.size()),
                        boost::json::parse(boost::json::string_view(fault.data(), fault.size()))}};
    directory_.write("state.json.next", boost::json::serialize(state));
    std::filesystem::rename(directory_.file("state.json.next"), directory_.file("state.json"));
  }

  /// The same without touching the state, which the double's controllers write; `path` may have a
  /// method in front.
  void fault_beside(std::string_view path, std::string_view fault) const {
    directory_.write(
        "faults.json.next",
        boost::json::serialize(boost::json::object{
            {boost::json::string_view(path.data(), path.size()),
             boost::json::parse(boost::json::string_view(fault.data(), fault.size()))}}));
    std::filesystem::rename(directory_.file("faults.json.next"), directory_.file("faults.json"));
  }

  [[nodiscard]] std::string server() const { return "https://127.0.0.1:" + read("port"); }
  [[nodiscard]] std::string file(const std::string& name) const { return directory_.file(name); }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream file(directory_.file(name));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  /// One JSON object a line; a "complaint" in one is a request that breaks the documented API.
  [[nodiscard]] std::string requests() const { return read("requests.jsonl"); }
  void freeze() const { server_->freeze(); }
  void thaw() const { server_->thaw(); }

  /// Writes a kubeconfig whose only user has these keys (YAML, a line each); its path.
  [[nodiscard]] std::string kubeconfig(const std::string& user,
                                       const std::string& authority = "ca.crt",
                                       const std::string& name = "kubeconfig") const {
    std::string text =
        "apiVersion: v1\nkind: Config\ncurrent-context: one\nclusters:\n- name: c\n"
        "  cluster:\n    server: " +
        server() + "\n    certificate-authority: " + authority +
        "\ncontexts:\n- name: one\n  context: {cluster: c, user: u, namespace: shop}\n"
        "users:\n- name: u\n  user:\n";
    std::istringstream lines(user);
    for (std::string line; std::getline(lines, line);) text += "    " + line + "\n";
    return directory_.write(name, text, 0600);
  }

 private:
  TemporaryDirectory directory_;
  boost::json::object state_;
  std::unique_ptr<Server> server_;
};

}  // namespace nexus::test

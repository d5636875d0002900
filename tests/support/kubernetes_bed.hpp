// What the tests of changes in a cluster run on: tests/doubles/kubernetes_api, or, with
// NEXUS_KUBERNETES_BED set to a directory of tests/testbed/kubernetes.py, a real API server with
// its controllers. Both have the nodes n1 and n2, an administrator and a viewer, and run every
// image but "broken" ones; a "stubborn" one does not end before it is deleted with a grace of 0.
//
// One bed a version of the server, shared by all tests of a run, each in a namespace of its own.
// Thread safety: one thread.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nexus/drivers/kubernetes.hpp"
#include "support/kubernetes_double.hpp"

namespace nexus::test {

class KubernetesBed {
 public:
  /// Of the double the oldest, one that has old and new versions of groups (autoscaling/v2beta2
  /// and v2, policy/v1beta1 and v1), and the newest; or what the real one is.
  static std::vector<std::string> versions() {
    return is_real() ? std::vector<std::string>{"real"}
                     : std::vector<std::string>{"1.20", "1.24", "1.34"};
  }
  static KubernetesBed& of(const std::string& version) {
    static std::map<std::string, std::unique_ptr<KubernetesBed>> beds;
    auto& bed = beds[version];
    if (!bed) bed = std::make_unique<KubernetesBed>(version);
    return *bed;
  }
  static bool is_real() { return std::getenv("NEXUS_KUBERNETES_BED") != nullptr; }

  /// progressDeadlineSeconds of what is meant to fail; a real one needs longer for what is not.
  static int soon_failed() { return is_real() ? 20 : 1; }

  explicit KubernetesBed(const std::string& version) {
    if (is_real()) return;
    double_ = std::make_unique<KubernetesDouble>(
        R"({"version": 1000, "controllers": true, "server_version": ")" + version + R"(",
            "tokens": {"admin-token": "admin", "viewer-token": "viewer"},
            "rules": {"admin": ["*"], "viewer": ["get *", "list *", "watch *"]},
            "objects": {"nodes": [{"metadata": {"name": "n1", "uid": "node-1"}, "spec": {}},
                                  {"metadata": {"name": "n2", "uid": "node-2"}, "spec": {}}],
                        "namespaces": []}})");
  }

  /// Path of the kubeconfig of "admin" or "viewer".
  [[nodiscard]] std::string kubeconfig(const std::string& user) const {
    return double_ ? double_->kubeconfig("token: " + user + "-token", "ca.crt", user + ".conf")
                   : std::string(std::getenv("NEXUS_KUBERNETES_BED")) + "/" + user + ".conf";
  }
  [[nodiscard]] drivers::KubernetesAccess access(const std::string& user) const {
    auto access = drivers::kubernetes_from_config(kubeconfig(user), "");
    if (!access) throw std::runtime_error(access.error().message());
    return *std::move(access);
  }

  [[nodiscard]] std::string new_name_space() {
    return "t" + std::to_string(::getpid()) + "-" + std::to_string(++made_);
  }
  /// Requests that break the documented API, as the double saw them; nothing of a real one, which
  /// refuses them itself.
  [[nodiscard]] std::string complaints() const {
    if (!double_) return {};
    std::istringstream lines(double_->requests());
    std::string out;
    for (std::string line; std::getline(lines, line);) {
      if (line.contains("\"complaint\"")) out += line + "\n";
    }
    return out;
  }
  /// Null with a real one.
  [[nodiscard]] KubernetesDouble* as_double() const { return double_.get(); }

 private:
  std::unique_ptr<KubernetesDouble> double_;
  int made_ = 0;
};

}  // namespace nexus::test

// Where the Kubernetes API is and who asks: kubeconfig, or the pod's own token.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>

#include "nexus/base/text.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/drivers/kubernetes_control.hpp"
#include "nexus/host/file.hpp"

namespace nexus::drivers {
namespace {

constexpr std::string_view kAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

std::string text(const YAML::Node& node, const char* key) {
  const YAML::Node value = node[key];
  return value && value.IsScalar() ? value.Scalar() : std::string();
}

/// The `inner` table of the entry of that name in a list of {name, inner}.
YAML::Node named(const YAML::Node& root, const char* list, const std::string& name,
                 const char* inner) {
  const YAML::Node entries = root[list];
  if (entries && entries.IsSequence()) {
    for (const auto& entry : entries) {
      if (entry.IsMap() && text(entry, "name") == name && entry[inner] && entry[inner].IsMap())
        return entry[inner];
    }
  }
  return YAML::Node(YAML::NodeType::Undefined);
}

Result<std::string> decode_base64(const std::string& coded) {
  std::string plain(coded.size(), '\0');
  std::size_t padding = 0;
  while (padding < 2 && padding < coded.size() && coded[coded.size() - 1 - padding] == '=')
    ++padding;
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(plain.data()),
                                   reinterpret_cast<const unsigned char*>(coded.data()),
                                   static_cast<int>(coded.size()));
  if (size < 0) return fail(Errc::kInvalidArgument, "expected base64");
  plain.resize(static_cast<std::size_t>(size) - padding);
  return plain;
}

class ConfigReader {
 public:
  ConfigReader(YAML::Node root, std::filesystem::path directory)
      : root_(std::move(root)), directory_(std::move(directory)) {}

  Result<KubernetesAccess> read(const std::string& context) const {
    const std::string chosen = context.empty() ? text(root_, "current-context") : context;
    if (chosen.empty())
      return fail(Errc::kInvalidArgument, "there is no current-context, and none is configured");
    const YAML::Node names = named(root_, "contexts", chosen, "context");
    if (!names) return fail(Errc::kNotFound, "context \"{}\": there is none of that name", chosen);
    KubernetesAccess out;
    out.name_space = text(names, "namespace");
    if (auto read = cluster(text(names, "cluster"), out); !read) return propagate(std::move(read));
    if (auto read = user(text(names, "user"), out); !read) return propagate(std::move(read));
    return out;
  }

 private:
  Status cluster(const std::string& name, KubernetesAccess& out) const {
    const YAML::Node node = named(root_, "clusters", name, "cluster");
    if (!node) return fail(Errc::kNotFound, "cluster \"{}\": there is none of that name", name);
    out.server = text(node, "server");
    while (out.server.ends_with('/')) out.server.pop_back();
    if (!out.server.starts_with("https://"))
      return fail(Errc::kInvalidArgument,
                  "cluster \"{}\": server: expected an address that begins with https://", name);
    for (const auto* unsupported : {"proxy-url", "tls-server-name"}) {
      if (node[unsupported])
        return fail(Errc::kUnsupported, "cluster \"{}\": {} is not supported", name, unsupported);
    }
    out.tls.verify = text(node, "insecure-skip-tls-verify") != "true";
    return certificate(node, "certificate-authority", out.tls.ca_file, out.tls.ca_pem);
  }

  Status user(const std::string& name, KubernetesAccess& out) const {
    const YAML::Node node = named(root_, "users", name, "user");
    if (!node) return fail(Errc::kNotFound, "user \"{}\": there is none of that name", name);
    for (const auto* plugin : {"exec", "auth-provider"}) {
      if (node[plugin])
        return fail(Errc::kUnsupported,
                    "user \"{}\": {} would run a command to get a token, which is not done; "
                    "expected token, tokenFile, or client-certificate and client-key",
                    name, plugin);
    }
    if (node["username"] || node["password"])
      return fail(Errc::kUnsupported, "user \"{}\": no Kubernetes takes passwords any more", name);
    out.token = config::Secret(text(node, "token"));
    if (const auto file = text(node, "tokenFile"); !file.empty()) out.token_file = beside(file);
    if (auto read = certificate(node, "client-certificate", out.tls.cert_file, out.tls.cert_pem);
        !read)
      return read;
    return certificate(node, "client-key", out.tls.key_file, out.tls.key_pem);
  }

  Status certificate(const YAML::Node& node, const std::string& key, std::string& file,
                     std::string& pem) const {
    if (const auto path = text(node, key.c_str()); !path.empty()) file = beside(path);
    const auto coded = text(node, (key + "-data").c_str());
    if (coded.empty()) return {};
    auto plain = decode_base64(coded);
    if (!plain) return propagate(std::move(plain), "{}-data", key);
    pem = *std::move(plain);
    return {};
  }

  [[nodiscard]] std::string beside(const std::string& path) const {
    return (directory_ / path).string();
  }

  const YAML::Node root_;
  const std::filesystem::path directory_;
};

}  // namespace

Result<KubernetesAccess> kubernetes_from_config(const std::string& path,
                                                const std::string& context) {
  auto content = host::read_file(path);
  if (!content) return propagate(std::move(content), "kubeconfig");
  try {
    const YAML::Node root = YAML::Load(*content);
    if (!root.IsMap()) return fail(Errc::kInvalidArgument, "kubeconfig {}: expected a table", path);
    auto access = ConfigReader(root, std::filesystem::path(path).parent_path()).read(context);
    if (!access) return propagate(std::move(access), "kubeconfig {}", path);
    return access;
  } catch (const YAML::Exception& wrong) {
    // Its message has the place; the text itself, which may hold a token, is not in it.
    return fail(Errc::kInvalidArgument, "kubeconfig {}:{}:{}: not YAML", path, wrong.mark.line + 1,
                wrong.mark.column + 1);
  }
}

Result<KubernetesAccess> kubernetes_access(
    const config::KubernetesSection& section, const host::Roots& roots,
    const std::function<std::optional<std::string>(const std::string&)>& environment) {
  if (!section.kubeconfig.empty())
    return kubernetes_from_config(section.kubeconfig, section.context);
  return kubernetes_in_cluster(roots, environment("KUBERNETES_SERVICE_HOST").value_or(""),
                               environment("KUBERNETES_SERVICE_PORT").value_or(""));
}

std::string kubernetes_node(const config::KubernetesSection& section, const host::Roots& roots) {
  if (!section.node.empty()) return section.node;
  const auto name = host::read_file(roots.proc("sys/kernel/hostname"));
  if (!name) return {};
  std::string out(base::trim(*name));  // kubelets call their nodes in lower case
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

KubernetesScope kubernetes_scope(const config::KubernetesSection& section,
                                 const host::Roots& roots) {
  KubernetesScope out{section.change_in, NodeScope::kNone, kubernetes_node(section, roots)};
  if (section.change_nodes == "own") out.nodes = NodeScope::kOwn;
  if (section.change_nodes == "all") out.nodes = NodeScope::kAll;
  return out;
}

Result<KubernetesAccess> kubernetes_in_cluster(const host::Roots& roots, const std::string& host,
                                               const std::string& port) {
  const std::string account = roots.root(kAccount);
  KubernetesAccess out;
  out.token_file = account + "/token";
  out.tls.ca_file = account + "/ca.crt";
  if (host.empty() || !host::read_file(out.token_file))
    return fail(Errc::kNotFound, "the agent runs in no pod, and [kubernetes] names no kubeconfig");
  out.server = host.contains(':') ? fmt::format("https://[{}]:{}", host, port)
                                  : fmt::format("https://{}:{}", host, port);
  if (auto name = host::read_file(account + "/namespace")) out.name_space = base::trim(*name);
  return out;
}

}  // namespace nexus::drivers

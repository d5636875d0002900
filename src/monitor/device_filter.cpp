#include "monitor/device_filter.hpp"

namespace nexus::monitor {

Result<NameFilter> device_filter(const CollectorContext& context,
                                 const CollectorDescriptor& descriptor) {
  const std::string include = option_string(context, descriptor, "device_include");
  const std::string exclude = option_string(context, descriptor, "device_exclude");
  if (include.empty()) return NameFilter::make({}, exclude);
  if (context.options.contains("device_exclude") && !exclude.empty()) {
    return fail(Errc::kInvalidArgument,
                "device_include and device_exclude: expected only one of the two");
  }
  return NameFilter::make(include, {});
}

}  // namespace nexus::monitor

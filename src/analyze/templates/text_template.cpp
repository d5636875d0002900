#include "nexus/analyze/text_template.hpp"

#include "analyze/templates/template.hpp"

namespace nexus::analyze {

Result<TextTemplate> TextTemplate::parse(std::string_view text, std::string name) {
  auto made = Template::parse(text, std::move(name));
  if (!made) return propagate(std::move(made));
  return TextTemplate(std::make_shared<const Template>(*std::move(made)));
}

std::string TextTemplate::expand(const Data& data) const {
  TemplateData given;
  given.labels = data.labels;
  given.external_labels = data.external_labels;
  given.external_url = data.external_url;
  given.value = data.value;
  return made_->expand_or_say(given);
}

}  // namespace nexus::analyze

"""Label and field selectors, as the API reads them."""

import re

from refusal import bad
from resources import RESOURCES

LABEL = re.compile(r"(?P<key>[\w./-]+)(?:\s*(?P<op>==?|!=)\s*(?P<value>[\w.-]*)|\s+(?P<set>in|notin)\s+\((?P<values>[^)]*)\))?$")


def field(value, path):
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def has_labels(labels, selector):
    """Whether labels fit "a=b,c!=d,e in (f,g),h,!i"; ValueError: no selector."""
    for part in filter(None, re.split(r",(?![^(]*\))", selector)):
        part = part.strip()
        absent = part.startswith("!")
        found = LABEL.match(part.lstrip("!").strip())
        if not found or (absent and (found["op"] or found["set"])):
            raise ValueError(part)
        value = labels.get(found["key"])
        if found["set"]:
            inside = value in [one.strip() for one in found["values"].split(",")]
            fits = inside if found["set"] == "in" else not inside
        elif found["op"]:
            fits = (value == found["value"]) == (found["op"] != "!=")
        else:
            fits = (value is None) == absent
        if not fits:
            return False
    return True


class Selectors:
    def __init__(self, resource, space, query):
        self.space, self.labels, self.fields = space, query.get("labelSelector", ""), []
        try:
            has_labels({}, self.labels)
        except ValueError as wrong:
            raise bad(f"unable to parse requirement: {wrong}") from wrong
        for selector in filter(None, query.get("fieldSelector", "").split(",")):
            parts = re.fullmatch(r"([A-Za-z.]+)(==|=|!=)(.*)", selector)
            if not parts or parts[1] not in RESOURCES[resource].fields:
                raise bad(f'field label not supported: "{selector}"')
            self.fields.append((parts[1], parts[3], parts[2] != "!="))

    def fit(self, one):
        if one is None:
            return False
        if self.space and one["metadata"].get("namespace") != self.space:
            return False
        if any((field(one, path) == value) != equal for path, value, equal in self.fields):
            return False
        return has_labels(one["metadata"].get("labels", {}), self.labels)

"""Names that are not allowed, and sizes: what CRAFT calls policy as lint.

Outside base and host there is no shell, no std::regex, no detached thread, no sleep, no clock read, no ifstream; nothing
is left to do in the code; there are few macros; no file is long.
"""
import re

import tree

MAX_LINES = 600
MAX_MACROS = 10
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
# Not a member (x.system, x->system) and not a name that only ends so.
FREE = r"(?<![\w.>])(?<!\w::)"
BANNED = [
    (re.compile(FREE + r"(?:::|std::)?system\s*\("), "system() runs a shell: host/subprocess.hpp"),
    (re.compile(FREE + r"(?:::)?popen\s*\("), "popen() runs a shell: host/subprocess.hpp"),
    (re.compile(r"\bstd::w?regex\b|^\s*#\s*include\s*<regex>", re.MULTILINE), "std::regex: RE2"),
    (re.compile(r"(?:\.|->)detach\s*\(\s*\)"), "a detached thread: nothing joins it"),
    (re.compile(r"\bsleep_(?:for|until)\b|" + FREE + r"(?:::)?u?sleep\s*\(|\bnanosleep\b"), "a sleep: base/clock.hpp"),
    (re.compile(r"\b\w*[cC]lock\w*::now\b|" + FREE + r"(?:::|std::)?time\s*\(\s*(?:nullptr|NULL|0)\s*\)"
                r"|\bgettimeofday\b|\bclock_gettime\b"), "a clock read: base/clock.hpp"),
    (re.compile(r"\bi?fstream\b"), "a stream on a file: host/file.hpp"),
]


def check_banned(root):
    complaints = []
    for path in tree.files(root, "src", "include/nexus"):
        relative = path.relative_to(root)
        if {"base", "host"} & set(relative.parts[1:3]):
            continue
        code = tree.code_only(tree.read(path))
        for pattern, why in BANNED:
            for match in pattern.finditer(code):
                complaints.append(f"{relative}:{code.count(chr(10), 0, match.end()) + 1}: {match[0].strip()}: {why}")
    return complaints


def check_macros(root):
    macros = set()
    for path in tree.files(root, "src", "include"):
        macros |= set(re.findall(r"^\s*#\s*define\s+(NEXUS_\w+)", tree.read(path), re.MULTILINE))
    if len(macros) <= MAX_MACROS:
        return []
    return [f"{len(macros)} macros, at most {MAX_MACROS}: {', '.join(sorted(macros))}"]


def check_files(root):
    complaints = []
    for path in tree.files(root, "src", "include", "tests", "bench", "packaging", suffixes=(*tree.CODE, ".py", ".sh")):
        lines = tree.read(path).splitlines()
        relative = path.relative_to(root)
        if len(lines) > MAX_LINES:
            complaints.append(f"{relative}: {len(lines)} lines, at most {MAX_LINES}")
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                complaints.append(f"{relative}:{number}: unfinished: {line.strip()}")
    return complaints


def check(root):
    return check_banned(root) + check_macros(root) + check_files(root)


if __name__ == "__main__":
    tree.main(check)

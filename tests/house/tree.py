"""The source tree as the house checks see it: files, rooms, includes, code without comments and literals.

Every check is a module with `check(root, ...) -> list of complaints`; `main` prints them and turns them into an exit code.
"""
import pathlib
import re
import sys

CODE = (".cpp", ".hpp")


def files(root, *folders, suffixes=CODE):
    """All files of these suffixes below the folders, sorted."""
    found = []
    for folder in folders:
        found += [path for path in (root / folder).rglob("*") if path.suffix in suffixes and path.is_file()]
    return sorted(found)


def read(path):
    return path.read_text(encoding="utf-8")


def includes(text):
    """(line number, path, "quoted" or "angled") of each include."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
        if match:
            yield number, match[1] or match[2], "quoted" if match[1] else "angled"


_NOT_CODE = re.compile(
    r'//[^\n]*'
    r'|/\*.*?\*/'
    r'|R"(?P<delimiter>[^(\s]{0,16})\(.*?\)(?P=delimiter)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.DOTALL)


def code_only(text):
    """The text with comments and literals blanked, line numbers kept."""
    return _NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def rooms(root):
    """Room -> the rooms it may include (itself and its transitive USES), from src/CMakeLists.txt."""
    direct = {}
    for match in re.finditer(r"^nexus_room\((.*?)\)", read(root / "src/CMakeLists.txt"), re.MULTILINE | re.DOTALL):
        name, *words = match[1].split()
        uses = []
        if "USES" in words:
            for word in words[words.index("USES") + 1:]:
                if word == "LIBS":
                    break
                uses.append(word)
        direct[name] = uses

    def reach(name, path=()):
        if name in path:
            raise SystemExit("src/CMakeLists.txt: the rooms use each other in a circle: " + " -> ".join((*path, name)))
        found = {name}
        for used in direct.get(name, ()):
            found |= reach(used, (*path, name))
        return found

    return {name: reach(name) for name in direct}


def main(check):
    """check(root) for the tree named on the command line; further arguments are passed on."""
    if len(sys.argv) < 2:
        raise SystemExit(f"usage: {sys.argv[0]} SOURCE_DIR [...]")
    complaints = check(pathlib.Path(sys.argv[1]).resolve(), *sys.argv[2:])
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} complaint{'' if len(complaints) == 1 else 's'}")
    raise SystemExit(1 if complaints else 0)

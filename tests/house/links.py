"""Nothing stands outside the build or the documentation: every test file is built, every room is linked, described in
src/README.md and has a README, and relative links in Markdown files lead somewhere."""
import json
import pathlib
import re

import tree


def check_rooms(root, rooms):
    complaints = []
    folders = {path.name for path in (root / "src").iterdir() if path.is_dir()}
    for room in sorted(folders ^ set(rooms)):
        complaints.append(f"src/{room}: {'not a nexus_room of src/CMakeLists.txt' if room in folders else 'no such folder'}")
    table = re.findall(r"^\|\s*\d+\s*\|\s*`?(\w+)`?\s*\|", tree.read(root / "src/README.md"), re.MULTILINE)
    for room in sorted(folders):
        if not (root / "src" / room / "README.md").is_file():
            complaints.append(f"src/{room}: no README.md")
        if room not in table:
            complaints.append(f"src/README.md: no row for the room {room}")
    for path in sorted((root / "include/nexus").iterdir()):
        if path.name not in rooms:
            complaints.append(f"include/nexus/{path.name}: no room of that name")
    return complaints


def check_tests(root, build):
    """Each tests/*/ with sources is in the list that tests/CMakeLists.txt builds from, or a subdirectory of it; each source
    is compiled."""
    complaints = []
    lists = tree.read(root / "tests/CMakeLists.txt")
    match = re.search(r"foreach\(ROOM\s+([^)]*)\)", lists)
    built = set(match[1].split()) if match else set()
    built |= set(re.findall(r"^add_subdirectory\((\w+)\)", lists, re.MULTILINE))
    compiled = None
    if build is not None:
        commands = json.loads(tree.read(pathlib.Path(build) / "compile_commands.json"))
        compiled = {pathlib.Path(entry["file"]).resolve() for entry in commands}
    for path in tree.files(root, "tests", suffixes=(".cpp",)):
        relative = path.relative_to(root)
        if len(relative.parts) > 2 and relative.parts[1] not in built:
            complaints.append(f"{relative}: tests/{relative.parts[1]} is not in the list of rooms of tests/CMakeLists.txt")
        elif compiled is not None and path not in compiled:
            complaints.append(f"{relative}: not compiled by any target")
    for path in tree.files(root, "bench", suffixes=(".cpp",)):
        if not path.name.endswith("_bench.cpp"):
            complaints.append(f"{path.relative_to(root)}: bench/ builds only *_bench.cpp")
    return complaints


def check_markdown(root):
    complaints = []
    pages = list(root.glob("*.md")) + tree.files(root, "docs", "src", "tests", "bench", "packaging", suffixes=(".md",))
    for page in pages:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", tree.read(page), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (page.parent / target.split("#")[0]).exists():
                complaints.append(f"{page.relative_to(root)}: the link {target} leads nowhere")
    return complaints


def check(root, build=None):
    return check_rooms(root, tree.rooms(root)) + check_tests(root, build) + check_markdown(root)


if __name__ == "__main__":
    tree.main(check)

"""Every header compiles alone, with the flags of its room (from compile_commands.json of the build directory).

ccache, when it is there, makes the second run quick; what is compiled lies in BUILD/house/headers.
"""
import concurrent.futures
import json
import pathlib
import re
import shlex
import shutil
import subprocess

import tree

JOBS = 2


def room_flags(root, build):
    """Room -> compiler and flags of one of its sources, without what only matters for code."""
    found = {}
    for entry in json.loads(tree.read(build / "compile_commands.json")):
        path = pathlib.Path(entry["file"])
        if not path.is_relative_to(root / "src"):
            continue
        words = shlex.split(entry["command"])
        if words and words[0].endswith("ccache"):
            words = words[1:]
        words = words[:words.index("-o")] if "-o" in words else words
        drop = re.compile(r"-O.*|-g\d*|-fsanitize.*|-fno-sanitize.*|-fno-omit.*")
        found.setdefault(path.relative_to(root / "src").parts[0], [word for word in words if not drop.fullmatch(word)])
    return found


def compile_alone(root, build, header, command):
    public = header.is_relative_to(root / "include")
    name = header.relative_to(root / ("include" if public else "src"))
    source = build / "house/headers" / (str(name).replace("/", "-") + ".cpp")
    text = f'#include "{name}"\n#include "{name}"  // and again: it has a guard\n'
    if not source.is_file() or tree.read(source) != text:
        source.write_text(text)
    words = [*command, "-O0", "-c", str(source), "-o", str(source.with_suffix(".o"))]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=build)
    if ran.returncode == 0:
        return None
    errors = [line for line in ran.stderr.splitlines() if "error" in line] or ran.stderr.splitlines()
    return f"{header.relative_to(root)} does not compile alone: {errors[0] if errors else 'no message'}"


def check(root, build):
    build = pathlib.Path(build).resolve()
    flags = room_flags(root, build)
    (build / "house/headers").mkdir(parents=True, exist_ok=True)
    cache = [shutil.which("ccache")] if shutil.which("ccache") else []

    def one(header):
        parts = header.relative_to(root).parts
        room = parts[2] if parts[0] == "include" else parts[1]
        if room not in flags:
            return f"{header.relative_to(root)}: no source of the room {room} is compiled"
        return compile_alone(root, build, header, [*cache, *flags[room]])

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        results = pool.map(one, tree.files(root, "include", "src", suffixes=(".hpp",)))
        return [complaint for complaint in results if complaint]


if __name__ == "__main__":
    tree.main(check)

"""Shows that every check of the house fails on what it is for, and passes a clean tree: each case plants one fault in a
small tree of its own and expects the complaint."""
import json
import pathlib
import sys
import tempfile

import floors
import format
import headers
import links
import names
import privileged

CLEAN = {
    ".clang-format": "BasedOnStyle: Google\nColumnLimit: 100\n",
    "src/CMakeLists.txt": "nexus_room(base LIBS x::y)\nnexus_room(low USES base)\nnexus_room(side USES base)\n"
                          "nexus_room(high USES low\n  LIBS z)\n",
    "src/README.md": "".join(f"| 1 | {room} | - | - |\n" for room in ("base", "low", "side", "high")),
    **{f"src/{room}/README.md": f"# {room}\n" for room in ("base", "low", "side", "high")},
    "include/nexus/base/base.hpp": "#pragma once\n#include <string>\n",
    "include/nexus/low/low.hpp": "#pragma once\n#include \"nexus/base/base.hpp\"\n",
    "src/base/base.cpp": "int base_now() { return 0; }  // may call std::chrono::system_clock::now()\n",
    "src/low/low.cpp": "#include \"nexus/low/low.hpp\"\n\n#include \"low/part.hpp\"\n",
    "src/low/part.hpp": "#pragma once\n#include <vector>\ninline std::vector<int> part() { return {10'000, 'a'}; }\n",
    "src/side/side.cpp": "// system(\"x\") in a comment is no call\nconst char* kText = \"popen(\";\n",
    "src/high/high.cpp": "#include \"nexus/base/base.hpp\"\n#include \"nexus/low/low.hpp\"\n",
    "include/nexus/side/side.hpp": "#pragma once\n",
    "include/nexus/high/high.hpp": "#pragma once\n",
    "tests/CMakeLists.txt": "foreach(ROOM base low\n  high)\n",
    "tests/main.cpp": "int main() {}\n",
    "tests/low/low_test.cpp": "\n",
    "bench/low_bench.cpp": "\n",
    "packaging/none.sh": "\n",
    "README.md": "see [the source](src/README.md) and [elsewhere](https://example.org/)\n",
}

# Check, file, its planted content, and what the complaint has to name.
FAULTS = [
    (floors, "src/low/low.cpp", "#include \"nexus/high/high.hpp\"\n", "low may not use high"),
    (floors, "src/high/high.cpp", "#include \"nexus/side/side.hpp\"\n", "high may not use side"),
    (floors, "include/nexus/base/base.hpp", "#include <nexus/low/low.hpp>\n", "base may not use low"),
    (floors, "src/high/high.cpp", "#include \"low/part.hpp\"\n", "private to another room"),
    (floors, "include/nexus/low/low.hpp", "#include \"low/part.hpp\"\n", "includes the private"),
    (floors, "include/nexus/low/low.hpp", "#include <boost/json.hpp>\n", "belongs into a .cpp"),
    (floors, "include/nexus/low/low.hpp", "#include <sqlite3.h>\n", "belongs into a .cpp"),
    (floors, "src/new/new.cpp", "#include <vector>\n#include \"nexus/base/base.hpp\"\n", "no nexus_room"),
    (names, "src/low/low.cpp", "int x = system(\"ls\");\n", "low.cpp:1: system("),
    (names, "src/low/low.cpp", "\nint x = std::system(\"ls\");\n", "low.cpp:2: std::system("),
    (names, "src/low/low.cpp", "auto* p = ::popen(\"ls\", \"r\");\n", "popen"),
    (names, "src/low/part.hpp", "std::regex pattern;\n", "std::regex"),
    (names, "src/low/low.cpp", "void f() { thread.detach(); }\n", "detach"),
    (names, "src/low/low.cpp", "void f() { std::this_thread::sleep_for(1s); }\n", "sleep_for"),
    (names, "src/low/low.cpp", "auto t = std::chrono::steady_clock::now();\n", "steady_clock::now"),
    (names, "src/low/low.cpp", "auto t = ::time(nullptr);\n", "time(nullptr)"),
    (names, "src/low/low.cpp", "void f() { gettimeofday(&tv, nullptr); }\n", "gettimeofday"),
    (names, "src/low/low.cpp", "std::ifstream in(\"/proc/stat\");\n", "ifstream"),
    (names, "src/low/low.cpp", "// TO" + "DO: later\n", "unfinished"),
    (names, "tests/low/x.py", "# FIX" + "ME\n", "unfinished"),
    (names, "src/low/low.cpp", "\n" * 601, "601 lines"),
    (names, "src/low/low.cpp", "".join(f"#define NEXUS_M{i} 1\n" for i in range(11)), "11 macros"),
    (privileged, "src/execute/a.cpp", "void f() { ::kill(7, 9); }\n", "a.cpp:1: kill("),
    (privileged, "src/execute/a.cpp", "\nauto gone = unlinkat(fd, name, 0);\n", "a.cpp:2: unlinkat("),
    (privileged, "include/nexus/plan/a.hpp", "inline int f() { return fork(); }\n", "fork("),
    (privileged, "src/plan/a.cpp", "auto x = host::run({.argv = argv}, clock, end);\n", "host::run("),
    (privileged, "src/execute/a.cpp", "const Fd fd(::open(\"/proc/sys/vm/swappiness\", O_WRONLY));\n", "O_WRONLY"),
    (privileged, "src/execute/a.cpp", "std::ofstream(\"/proc/sys/vm/swappiness\") << 1;\n", "std::ofstream"),
    (privileged, "src/execute/a.cpp", "host::LocalPrivileged mine(clock);\n", "LocalPrivileged"),
    (privileged, "src/serve/a.cpp", "#include \"nexus/drivers/unit_privileged.hpp\"\n", "unit_privileged.hpp"),
    (privileged, "src/drivers/a.cpp", "call(bus, \"StopUnit\", unit);\n", "StopUnit of systemd"),
    (privileged, "src/drivers/a.cpp", "call(bus, \"SetUnitProperties\", unit);\n", "SetUnitProperties of systemd"),
    (privileged, "src/execute/a.cpp", "auto ok = host::write_file_atomically(path, text, 0644);\n", "write_file_atomically("),
    (privileged, "src/execute/a.cpp", "const host::Command command{.argv = argv};\n", "host::Command"),
    (privileged, "src/execute/a.cpp", "using host::run;\n", "using host::run"),
    (privileged, "src/plan/a.cpp", "using namespace nexus::host;\n", "using namespace nexus::host"),
    (privileged, "src/execute/a.cpp", "void f() { ::remove(path); }\n", "::remove("),
    (privileged, "src/execute/a.cpp", "void f() { std::remove(path); }\n", "std::remove("),
    (privileged, "src/execute/a.cpp", "namespace fs = std::filesystem;\n", "namespace fs = std::filesystem"),
    (privileged, "src/execute/a.cpp", "using namespace std::filesystem;\n", "using namespace std::filesystem"),
    (privileged, "src/execute/a.cpp", "void f() { utimensat(fd, name, times, 0); }\n", "utimensat("),
    (privileged, "src/execute/a.cpp", "void f() { ::setxattr(path, name, value, 1, 0); }\n", "setxattr("),
    (privileged, "src/execute/a.cpp", "const Fd fd(::open(path, flags));\n", "::open("),
    (privileged, "src/drivers/a.cpp", "void tidy() { ::unlink(path); }\n", "a.cpp:1: unlink("),
    (privileged, "src/drivers/a.cpp", "void tidy() { std::filesystem::remove_all(path); }\n", "filesystem::remove_all"),
    (privileged, "src/drivers/a.cpp", "call(bus, path, \"SetProperties\");\n", "SetProperties of systemd"),
    (privileged, "src/drivers/a.cpp", "call(bus, path, \"Restart\");\n", "Restart of systemd"),
    (privileged, "src/drivers/a.cpp", "call(bus, path, \"TerminateSession\");\n", "TerminateSession of systemd"),
    (links, "tests/orphan/orphan_test.cpp", "\n", "not in the list of rooms"),
    (links, "tests/low/other_test.cpp", "\n", "not compiled by any target"),
    (links, "src/low/README.md", None, "no README.md"),
    (links, "src/README.md", "| 1 | base | - | - |\n", "no row for the room low"),
    (links, "src/CMakeLists.txt", "nexus_room(base)\nnexus_room(low)\nnexus_room(side)\n", "src/high: not a nexus_room"),
    (links, "bench/low.cpp", "\n", "builds only"),
    (links, "README.md", "[gone](src/gone.md)\n", "leads nowhere"),
    (format, "src/low/low.cpp", "int   f( ){return 1;}\n", "src/low/low.cpp"),
    (headers, "src/low/part.hpp", "#pragma once\ninline std::vector<int> part() { return {}; }\n", "part.hpp does not compile"),
    (headers, "include/nexus/high/high.hpp", "struct Twice {};\n", "high.hpp does not compile"),
    (headers, "include/nexus/high/high.hpp", "#pragma once\nstd::string name();\n", "high.hpp does not compile"),
]


def plant(root, changed=None, content=None):
    for name, text in CLEAN.items():
        if name == changed:
            continue
        write(root / name, text)
    if changed and content is not None:
        write(root / changed, content)
    commands = []
    for name in CLEAN:
        if name.endswith(".cpp"):
            commands.append({"directory": str(root), "file": str(root / name),
                             "command": f"/usr/bin/ccache /usr/bin/g++ -std=c++23 -I{root}/include -I{root}/src -o x.o -c x.cpp"})
    write(root / "build/compile_commands.json", json.dumps(commands))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def complaints(module, root):
    if module is headers or module is links:
        return module.check(root, root / "build")
    return module.check(root)


def main():
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        clean = pathlib.Path(directory, "clean").resolve()
        plant(clean)
        for module in (floors, names, privileged, links, format, headers):
            if found := complaints(module, clean):
                failures.append(f"{module.__name__} complains about a clean tree: {found}")
        for number, (module, name, content, expected) in enumerate(FAULTS):
            root = pathlib.Path(directory, str(number)).resolve()
            plant(root, name, content)
            found = complaints(module, root)
            if not any(expected in complaint for complaint in found):
                failures.append(f"{module.__name__}: {name} with {content!r}: expected \"{expected}\", got {found}")
    for failure in failures:
        print(failure)
    print(f"{len(FAULTS)} planted faults, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

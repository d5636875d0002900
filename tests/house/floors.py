"""Floors: a room includes only itself and what its USES in src/CMakeLists.txt reach, another room only through its
public headers, and no public header brings in a heavy library."""
import re

import tree

HEAVY = re.compile(r"boost/(asio|beast|json|url)|toml\+\+|sqlite3|systemd/|curl/|prometheus/|Eigen/|libpq|postgresql/"
                   r"|hiredis|re2/|openssl/|spdlog/|CLI/")


def room_of(root, path):
    parts = path.relative_to(root).parts
    return parts[2] if parts[:2] == ("include", "nexus") else parts[1]


def check(root):
    allowed = tree.rooms(root)
    complaints = []
    for path in tree.files(root, "include/nexus", "src"):
        room = room_of(root, path)
        public = path.is_relative_to(root / "include")
        for line, name, how in tree.includes(tree.read(path)):
            place = f"{path.relative_to(root)}:{line}"
            parts = name.split("/")
            if room not in allowed:
                complaints.append(f"{place}: {room} is no nexus_room of src/CMakeLists.txt")
                break
            if parts[0] == "nexus":
                if parts[1] not in allowed[room]:
                    complaints.append(f"{place}: {room} may not use {parts[1]} ({name})")
            elif how == "quoted":
                if public:
                    complaints.append(f"{place}: a public header includes the private {name}")
                elif parts[0] != room:
                    complaints.append(f"{place}: {name} is private to another room, or not named from src/")
            if public and HEAVY.match(name):
                complaints.append(f"{place}: <{name}> belongs into a .cpp, not into a public header")
    return complaints


if __name__ == "__main__":
    tree.main(check)

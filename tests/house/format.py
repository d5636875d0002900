"""Every source is as clang-format-19 writes it, by the .clang-format of the tree."""
import concurrent.futures
import subprocess

import tree

FORMATTER = "clang-format-19"
BATCH = 16


def differing(root, batch):
    ran = subprocess.run([FORMATTER, "--dry-run", "-Werror", "--ferror-limit=1", "--style=file", *map(str, batch)],
                         capture_output=True, text=True, cwd=root)
    if ran.returncode == 0:
        return []
    bad = [path for path in batch if f"{path}:" in ran.stderr]
    return bad or [f"{FORMATTER}: {ran.stderr.strip()}"]


def check(root):
    sources = tree.files(root, "src", "include", "tests", "bench")
    batches = [sources[i:i + BATCH] for i in range(0, len(sources), BATCH)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = [path for bad in pool.map(lambda batch: differing(root, batch), batches) for path in bad]
    return [f"{path if isinstance(path, str) else path.relative_to(root)}: run {FORMATTER} -i" for path in found]


if __name__ == "__main__":
    tree.main(check)

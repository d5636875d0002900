"""Runs parts of one test program beside each other: most of their time they wait for counterparts.

    beside.py PROGRAM SPEC SPEC...

Each SPEC is what the program takes to choose tests; together they have to choose all. When all have ended it prints what each
has said: of a part that passed its last lines, of one that failed everything, and those last, for a report that is cut keeps
its end. The exit code is 1 when one has failed, or when a test is in no part or in several.
"""
import pathlib
import subprocess
import sys
import tempfile
import time

LAST_LINES = 10  # of a part that passed


def names(program, *spec):
    told = subprocess.run([program, "--list-test-names-only", *spec], capture_output=True, text=True, check=False).stdout
    return sorted(line for line in told.splitlines() if line.strip())


def main(program, *specs):
    parts = sorted(name for spec in specs for name in names(program, spec))
    if parts != names(program):
        odd = sorted(set(names(program)) ^ set(parts)) or "some are in several"
        raise SystemExit(f"the parts {specs} are not the whole of {program}: {odd}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        running = []
        for number, spec in enumerate(specs):
            file = pathlib.Path(directory, str(number))
            with file.open("wb") as out:
                running.append((spec, file, subprocess.Popen([program, spec], stdout=out, stderr=subprocess.STDOUT)))
        ended = []
        for spec, file, process in running:
            code = process.wait()
            ended.append((code, f"== {spec}: exit code {code} after {time.monotonic() - begun:.1f} s", file.read_text(errors="replace")))
    for code, title, said in sorted(ended, key=lambda part: part[0] != 0):
        print(title, said if code else "\n".join(said.rstrip().splitlines()[-LAST_LINES:]), sep="\n", flush=True)
    raise SystemExit(1 if any(code for code, _, _ in ended) else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

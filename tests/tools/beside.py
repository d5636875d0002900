"""Runs parts of one test program beside each other: most of their time they wait for counterparts.

    beside.py PROGRAM SPEC SPEC...

Each SPEC is what the program takes to choose tests; together they have to choose all. Prints what each has said when all have
ended; the exit code is 1 when one has failed, or when a test is in no part or in several.
"""
import pathlib
import subprocess
import sys
import tempfile
import time


def names(program, *spec):
    told = subprocess.run([program, "--list-test-names-only", *spec], capture_output=True, text=True, check=False).stdout
    return sorted(line for line in told.splitlines() if line.strip())


def main(program, *specs):
    parts = sorted(name for spec in specs for name in names(program, spec))
    if parts != names(program):
        odd = sorted(set(names(program)) ^ set(parts)) or "some are in several"
        raise SystemExit(f"the parts {specs} are not the whole of {program}: {odd}")
    failed = 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        running = []
        for number, spec in enumerate(specs):
            file = pathlib.Path(directory, str(number))
            with file.open("wb") as out:
                running.append((spec, file, subprocess.Popen([program, spec], stdout=out, stderr=subprocess.STDOUT)))
        for spec, file, process in running:
            code = process.wait()
            failed |= code != 0
            print(f"== {spec}: exit code {code} after {time.monotonic() - begun:.1f} s", flush=True)
            print(file.read_bytes().decode(errors="replace"), flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

#!/usr/bin/python3
"""Boots a machine and runs the tests of the systemd driver in it.

usage: drivers_systemd.py ROOT DRIVERS_TEST [CATCH2 ARGUMENTS]
"""

import sys

from nspawn import Machine


def main():
    root, program, *arguments = sys.argv[1:]
    with Machine(root, binds={program: "/opt/drivers_test"}) as machine:
        done = machine.run(["/opt/drivers_test", "[systemd]", "--durations", "yes", *arguments], check=False, timeout=900)
        print(done.stdout + done.stderr)
        if done.returncode != 0:
            raise SystemExit(f"drivers_test: exit code {done.returncode}")


if __name__ == "__main__":
    main()

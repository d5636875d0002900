#!/usr/bin/python3
"""Boots a machine and runs the tests of a room that need a real systemd in it.

usage: room_systemd.py ROOT ROOM_TEST [CATCH2 ARGUMENTS]
"""

import sys

from nspawn import Machine


def main():
    root, program, *arguments = sys.argv[1:]
    with Machine(root, binds={program: "/opt/room_test"}) as machine:
        done = machine.run(["/opt/room_test", "[systemd]", "--durations", "yes", *arguments], check=False, timeout=900)
        print(done.stdout + done.stderr)
        if done.returncode != 0:
            raise SystemExit(f"{program}: exit code {done.returncode}")


if __name__ == "__main__":
    main()

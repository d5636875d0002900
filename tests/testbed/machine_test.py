#!/usr/bin/python3
"""Tests of the testbed itself.

usage: machine_test.py ROOT
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from nspawn import Machine, MachineError, _children

ROOT = sys.argv.pop(1)

# An HTTP server of one line, to ask by socket and by TCP: it answers with the request's method, path and body.
ECHO = r"""
read -r method path version
while read -r line && [ "$line" != "$(printf '\r')" ]; do
  case $line in [Cc]ontent-[Ll]ength:*) size=$(echo "${line#*:}" | tr -dc 0-9);; esac
done
body="$method $path $(head -c "${size:-0}")"
printf 'HTTP/1.1 418 Teapot\r\nContent-Length: %s\r\n\r\n%s' "${#body}" "$body"
"""


def make_deb(folder):
    """A package with one file, one unit and one dependency that the root has."""
    tree = Path(folder) / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    (tree / "opt/hello").write_text("hello\n", encoding="utf-8")
    (tree / "DEBIAN/control").write_text(textwrap.dedent("""\
        Package: nexus-testbed-hello
        Version: 1.0
        Architecture: all
        Maintainer: Nobody <nobody@localhost>
        Depends: libsystemd0
        Description: a package to install
        """), encoding="utf-8")
    package = Path(folder) / "hello_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)
    return package


class MachineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Machine(ROOT).boot()
        cls.addClassCleanup(cls.machine.destroy)

    def test_is_a_machine_of_its_own(self):
        self.assertEqual(self.machine.run(["cat", "/proc/1/comm"]).stdout, "systemd\n")
        self.assertEqual(self.machine.run(["systemctl", "is-system-running"]).stdout, "running\n")
        self.assertEqual(self.machine.sh("ls /sys/class/net").split(), ["lo"])
        self.assertNotEqual(self.machine.read_file("/proc/sys/kernel/hostname"),
                            Path("/proc/sys/kernel/hostname").read_text(encoding="utf-8"))

    def test_run_tells_codes_and_output(self):
        done = self.machine.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "out\n", "err\n"))
        with self.assertRaisesRegex(MachineError, "exit code 3\n.*why"):
            self.machine.run(["sh", "-c", "echo why; exit 3"])
        with self.assertRaisesRegex(MachineError, "not done within 0.2 s"):
            self.machine.run(["sleep", "60"], timeout=0.2)

    def test_files_go_in_and_out_and_not_into_the_root(self):
        for path in ("/etc/nexus test/a", "/run/a", "/tmp/a"):
            self.machine.write_file(path, b"\x00\xff\n", 0o600)
            self.assertEqual(self.machine.read_file(path, text=False), b"\x00\xff\n")
            self.assertEqual(self.machine.run(["stat", "-c", "%a", path]).stdout, "600\n")
            self.assertFalse((Path(ROOT) / path[1:]).exists())
        self.assertTrue(self.machine.exists("/run/a"))
        self.assertFalse(self.machine.exists("/run/b"))

    def test_http_over_unix_and_tcp(self):
        self.machine.write_file("/opt/echo", ECHO)
        self.machine.write_file("/run/systemd/system/echo.socket",
                                "[Socket]\nListenStream=/run/echo.sock\nListenStream=127.0.0.1:8070\nAccept=yes\n")
        self.machine.write_file("/run/systemd/system/echo@.service",
                                "[Service]\nStandardInput=socket\nStandardError=journal\nExecStart=sh /opt/echo\n")
        self.machine.sh("systemctl daemon-reload; systemctl start echo.socket")
        got = self.machine.http("POST", "/a?b=c", unix="/run/echo.sock", body={"k": 1})
        self.assertEqual((got.status, got.body), (418, 'POST /a?b=c {"k": 1}'))
        got = self.machine.http("GET", "/x", unix=None, url="http://127.0.0.1:8070")
        self.assertEqual((got.status, got.body), (418, "GET /x "))
        with self.assertRaisesRegex(MachineError, "curl"):
            self.machine.http("GET", "/", unix="/run/nobody.sock")

    def test_installs_a_package(self):
        with tempfile.TemporaryDirectory() as folder:
            self.machine.install_deb(make_deb(folder))
        self.assertEqual(self.machine.read_file("/opt/hello"), "hello\n")
        self.assertIn("install ok installed", self.machine.sh("dpkg -s nexus-testbed-hello"))

    def test_journal_of_a_unit(self):
        self.machine.run(["systemd-run", "--wait", "--unit=said", "echo", "something said"])
        self.assertIn("something said", self.machine.journal("said"))


class LifeTest(unittest.TestCase):
    def test_the_disk_outlives_poweroff_and_crash_and_nothing_outlives_the_machine(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "f").write_text("from here", encoding="utf-8")
            with Machine(ROOT, binds={folder: "/mnt"}) as machine:
                self.assertEqual(machine.read_file("/mnt/f"), "from here")
                machine.write_file("/var/kept", "1")
                machine.sh("sync")
                boot_id = machine.sh("systemctl show --property=UserspaceTimestampMonotonic")
                machine.poweroff()
                machine.boot()
                self.assertNotEqual(machine.sh("systemctl show --property=UserspaceTimestampMonotonic"), boot_id)
                self.assertEqual(machine.read_file("/var/kept"), "1")
                machine.crash()
                machine.boot()
                self.assertEqual(machine.read_file("/var/kept"), "1")
                self.assertFalse(machine.exists("/run/a"))
                init, place = machine.init, machine.folder
            self.assertFalse(Path(f"/proc/{init}").exists())
            self.assertFalse(place.exists())
        self.assertNotIn(str(place), Path("/proc/self/mountinfo").read_text(encoding="utf-8"))

    def test_the_machine_dies_with_its_test(self):
        script = ("import sys, signal; sys.path.insert(0, sys.argv[1]); from nspawn import Machine;"
                  "m = Machine(sys.argv[2]).boot(); print(m.init, flush=True); signal.pause()")
        test = subprocess.Popen([sys.executable, "-c", script, str(Path(__file__).parent), ROOT], stdout=subprocess.PIPE)
        init = int(test.stdout.readline())
        handles = [os.pidfd_open(pid) for pid in (init, *_children(test.pid))]
        self.addCleanup(lambda: [os.close(handle) for handle in handles])
        test.send_signal(signal.SIGKILL)
        test.wait()
        test.stdout.close()
        for handle in handles:  # readable once the process has ended
            self.assertEqual(select.select([handle], [], [], 60)[0], [handle])


if __name__ == "__main__":
    unittest.main(verbosity=2)

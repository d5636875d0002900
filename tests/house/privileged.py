"""One narrow interface for what needs rights: whoever plans and executes changes the host by host::Privileged and in no
other way; only host and drivers implement it, and only agent makes the object."""
import re

import tree

ACTING = ("plan", "execute")          # change the host, by the interface alone
IMPLEMENTING = ("host", "drivers")
COMPOSING = ("agent",)

# Calls that change the host: processes, files, kernel, subprocesses.
CALLS = re.compile(
    r"(?<![\w.>])(?:::|std::|std::filesystem::|host::)?"
    r"(kill|killpg|tgkill|sigqueue|raise|pidfd_send_signal|setpriority|sched_setscheduler|sched_setaffinity|prlimit"
    r"|setrlimit|ptrace|unlink|unlinkat|rmdir|rename|renameat2?|truncate|ftruncate|fchmod|fchmodat|chmod|chown|fchown|lchown"
    r"|link|linkat|symlink|symlinkat|mkdir|mkdirat|mknod|fopen|creat|mount|umount2?|reboot|sethostname|unshare|setns|ioctl"
    r"|posix_spawnp?|fork|vfork|clone3?|execl[pe]?|execvp?e?|fexecve|syscall|swapon|swapoff|init_module|finit_module"
    r"|delete_module|bpf)\s*\(")
NAMES = re.compile(
    r"\bhost::run\s*\(|\bO_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)\b|\bstd::(?:basic_)?o?fstream\b"
    r"|\bfilesystem::(?:remove|remove_all|rename|resize_file|create_\w+|copy\w*|permissions)\b|\bsd_bus_\w+")
MAKES = re.compile(r"\b(?:Local|Unit)Privileged\b")
HEADER = "nexus/drivers/unit_privileged.hpp"

# Methods of systemd that change something, as they stand in a call of D-Bus.
METHODS = re.compile(
    r'"((?:Start|Stop|Reload|Restart|TryRestart|ReloadOrRestart|Kill|Freeze|Thaw|Clean|ResetFailed)Unit|ResetFailed'
    r'|(?:Set|Attach)\w*Unit\w*|StartTransientUnit|(?:Enable|Disable|Mask|Unmask|Preset|Link|Reenable)UnitFiles\w*|Reload'
    r'|Reexecute|PowerOff|Reboot|Halt|KExec)"')
ASKING = ("src/drivers/unit_job.cpp", "src/drivers/unit_privileged.cpp")


def room_of(root, path):
    parts = path.relative_to(root).parts
    return parts[2] if parts[:2] == ("include", "nexus") else parts[1]


def look(room, code, line):
    """What a line without comments and literals does that is not for this room."""
    found = []
    if room in ACTING:
        found += [match[1] + "(" for match in CALLS.finditer(code)]
        found += [match[0].strip() for match in NAMES.finditer(code)]
    if room not in IMPLEMENTING + COMPOSING:
        found += [match[0] for match in MAKES.finditer(code)]
        if re.match(r'\s*#\s*include\s*["<]' + re.escape(HEADER), line):
            found.append(HEADER)
    return found


def check(root):
    complaints = []
    for path in tree.files(root, "include/nexus", "src"):
        room, name = room_of(root, path), str(path.relative_to(root))
        text = tree.read(path)
        lines = text.splitlines()
        for number, code in enumerate(tree.code_only(text).splitlines()):
            for what in look(room, code, lines[number]):
                complaints.append(f"{name}:{number + 1}: {what}: {room} changes the host by host::Privileged only")
            if name in ASKING:
                continue
            for match in METHODS.finditer(lines[number]):
                complaints.append(f"{name}:{number + 1}: {match[1]} of systemd is asked for by {' and '.join(ASKING)} only")
    return complaints


if __name__ == "__main__":
    tree.main(check)

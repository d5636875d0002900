"""One narrow interface for what needs rights: whoever plans and executes changes the host by host::Privileged and in no
other way; only host and drivers implement it, and only agent makes the object."""
import re

import tree

ACTING = ("plan", "execute")          # change the host, by the interface alone
IMPLEMENTING = ("host", "drivers")
COMPOSING = ("agent",)

# Calls that change the host: processes, files, kernel, subprocesses. A member of ours may have such a name (`X::rename(`).
CALLS = re.compile(
    r"(?<![\w.>:])(?:::|std::|std::filesystem::|host::)?"
    r"(kill|killpg|tgkill|sigqueue|raise|pidfd_send_signal|setpriority|sched_setscheduler|sched_setaffinity|prlimit"
    r"|setrlimit|ptrace|unlink|unlinkat|rmdir|rename|renameat2?|truncate|ftruncate|fchmod|fchmodat|chmod|chown|fchown|lchown"
    r"|link|linkat|symlink|symlinkat|mkdir|mkdirat|mknod|fopen|creat|mount|umount2?|reboot|sethostname|unshare|setns|ioctl"
    r"|posix_spawnp?|fork|vfork|clone3?|execl[pe]?|execvp?e?|fexecve|syscall|swapon|swapoff|init_module|finit_module"
    r"|delete_module|bpf|utimes?|utimensat|futimens|l?setxattr|fsetxattr|[lf]?removexattr|fallocate|posix_fallocate"
    r"|copy_file_range|mkfifo(?:at)?|mkd?temp|mks?temps?|mkostemps?|tmpfile|freopen|nice|process_vm_writev"
    r"|pivot_root|chroot|settimeofday|clock_settime|adjtimex|setdomainname|write_file_atomically)\s*\(")
OPENS = re.compile(
    r"\bO_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)\b|\bstd::(?:basic_)?o?fstream\b"
    r"|\bfilesystem::(?:remove|remove_all|rename|resize_file|create_\w+|copy\w*|permissions|last_write_time)\b"
    # <cstdio> removes files too; of values the standard library erases.
    r"|(?<!\w)(?:std)?::remove\s*\(|(?<![\w>:])::open(?:at2?)?\s*\("
    r"|\bnamespace\s+\w+\s*=\s*[\w:]*\bfilesystem\b|\busing\s+(?:namespace\s+)?(?:std::)?filesystem\b")
# Subprocesses, and what makes them reachable without their name: `run(command, ...)` is found by its argument's type.
NAMES = re.compile(
    r"\bhost::(?:run\s*\(|Command\b)|\busing\s+(?:nexus::)?host::(?:run|Command)\b|\busing\s+namespace\s+(?:nexus::)?host\b"
    r"|\bnamespace\s+\w+\s*=\s*[\w:]*\bhost\b|\bsd_bus_\w+")
# Acting rooms may call the drivers, which therefore change nothing either but by what they ask of a counterpart.
MEMBERS = {"include/nexus/drivers/docker_control.hpp": ("rename(",)}  # named like a call: a request to the engine
MAKES = re.compile(r"\b(?:Local|Unit)Privileged\b")
HEADER = "nexus/drivers/unit_privileged.hpp"

# Methods of systemd and logind that change something, as they stand in a call of D-Bus; what is compared is a property.
METHODS = re.compile(
    r'(?<!== )"((?:Start|Stop|Reload|Restart|TryRestart|ReloadOrRestart|Kill|Freeze|Thaw|Clean|ResetFailed)Unit|ResetFailed'
    r'|(?:Set|Attach)\w*Unit\w*|StartTransientUnit|(?:Enable|Disable|Mask|Unmask|Preset|Link|Reenable)UnitFiles\w*|Reload'
    r'|Reexecute|PowerOff|Reboot|Halt|KExec|Suspend|Hibernate|(?:Try)?Restart|Start|Stop|Kill|ReloadOrRestart|SetProperties'
    r'|AttachProcesses|EnqueueUnitJob|EnqueueMarkedJobs|QueueSignalUnit|CancelJob|Cancel|ClearJobs|RevertUnitFiles'
    r'|AddDependencyUnitFiles|SetDefaultTarget|PresetAllUnitFiles|(?:Uns|S|UnsetAndS)etEnvironment|SetExitCode|SwitchRoot'
    r'|(?:Terminate|Kill)(?:Session|User|Seat|Machine)|(?:Lock|Activate)Session)"')
ASKING = ("src/drivers/unit_job.cpp", "src/drivers/unit_privileged.cpp")


def room_of(root, path):
    parts = path.relative_to(root).parts
    return parts[2] if parts[:2] == ("include", "nexus") else parts[1]


def look(room, code, line):
    """What a line without comments and literals does that is not for this room."""
    found = []
    if room in (*ACTING, "drivers"):
        found += [match[1] + "(" for match in CALLS.finditer(code)]
        found += [match[0].strip() for match in OPENS.finditer(code)]
    if room in ACTING:
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
                if what in MEMBERS.get(name, ()):
                    continue
                complaints.append(f"{name}:{number + 1}: {what}: {room} changes the host by host::Privileged only")
            if name in ASKING:
                continue
            for match in METHODS.finditer(lines[number]):
                complaints.append(f"{name}:{number + 1}: {match[1]} of systemd is asked for by {' and '.join(ASKING)} only")
    return complaints


if __name__ == "__main__":
    tree.main(check)

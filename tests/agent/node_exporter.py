"""The collectors against node_exporter 1.5: names, labels, types and values, on recorded hosts and on this one.

    node_exporter.py NEXUS_AGENT

What later versions of node_exporter have and 1.5 has not is listed in NEWER, what is different on purpose in OTHERWISE;
everything else must be the same, in both directions.
"""
import contextlib
import http.client
import math
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from harness import PATIENCE, Failure, expect, free_port, run_tests, wait_for

BINARY, TESTS = sys.argv[1], pathlib.Path(__file__).parent.parent
# With what the recorded trees hold; `os` and `selinux` of node_exporter read the running host whatever it is told.
ON_TREES = ("arp bcache bonding btrfs buddyinfo cgroups conntrack cpu cpufreq diskstats dmi drbd edac entropy fibrechannel "
            "filefd hwmon infiniband interrupts ipvs loadavg mdadm meminfo netclass netdev netstat nfs nfsd nvme "
            "powersupplyclass pressure rapl schedstat sockstat softnet stat tapestats thermal_zone udp_queues vmstat xfs "
            "zfs").split()
# node_exporter fails as a whole where one of these finds something that it does not expect.
LIVE = ON_TREES + ["filesystem", "network_route", "os", "selinux", "time", "timex", "uname"]
NEWER = re.compile(
    r"node_(arp_states|network_altnames_info|cpu_online|network_receive_nohandler_total|cpu_scaling_governor|softnet_backlog_len|pressure_irq_|nvme_namespace_|md_raid_disks|md_degraded|"
    r"infiniband_(?!info|state|phys|rate|legacy|link|multi|uni|port|excess|local_link|symbol|vl15)|btrfs_.*commit|"
    r"netstat_TcpExt_TCP(OFOQueue|RcvQDrop)|softnet_(cpu_collision|flow_limit_count|received_rps)_total|zfs_arc_memory_|"
    r"zfs_zpool_state|filesystem_mount_info|os_support_end|network_carrier_(up|down)_changes|scrape_|hwmon_.*_alarm$)")
# Labels that are newer than 1.5.
OTHERWISE = {"node_nvme_info": "cntlid", "node_disk_info": "rotational", "node_network_info": "adminstate"}
# It takes microseconds for nanoseconds, and for some reason does not find the reserve.
WRONG_THERE = {"node_bcache_btree_read_average_duration_seconds", "node_btrfs_global_rsv_size_bytes"}
# From udev's database alone, which those trees lack; the agent has it from sysfs too.
FROM_UDEV = {"node_disk_info", "node_disk_device_mapper_info"}
# They change from one read to the next on a running host; there only that both have them is compared.
STEADY = re.compile(r"node_(dmi_info|os_|uname_info|disk_info|md_|nf_conntrack_entries_limit|network_(info|mtu|flags|iface|up|"
                    r"speed|address|protocol|transmit_queue)|entropy_pool|filefd_maximum|filesystem_(size|readonly)|"
                    r"memory_MemTotal|timex_tick|xfs_.*info|selinux|cgroups_enabled|watchdog)")
# What node_exporter itself leaves out; Debian's leaves out more.
MOUNT_POINTS = "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """{(name, labels): value}, {name: type}; a label without a value is no label."""
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            types[name] = kind
        elif line and not line.startswith("#"):
            match = LINE.match(line)
            expect(match, f"not a sample: {line!r}")
            labels = tuple(sorted((k, v) for k, v in LABEL.findall(match[2] or "") if v))
            values[match[1], labels] = float(match[3])
    return values, types


def roots(tree):
    if tree is None:
        return [], []
    return (["--procfs", f"{tree}/proc", "--sysfs", f"{tree}/sys", "--rootfs", str(tree)],
            [f"--path.procfs={tree}/proc", f"--path.sysfs={tree}/sys", f"--path.rootfs={tree}",
             f"--path.udev.data={tree}/run/udev/data"])


def ours(collector, tree):
    command = [BINARY, "collect", "--once", "--collector", collector, *roots(tree)[0]]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout


@contextlib.contextmanager
def node_exporter(tree, collectors):
    program = shutil.which("prometheus-node-exporter")
    expect(program, "prometheus-node-exporter is not installed")
    port = free_port()
    process = subprocess.Popen(
        [program, f"--web.listen-address=127.0.0.1:{port}", "--web.disable-exporter-metrics", "--log.level=error",
         "--collector.disable-defaults", f"--collector.filesystem.mount-points-exclude={MOUNT_POINTS}", *([] if tree is None else ["--no-collector.netdev.netlink"]), *(f"--collector.{name}" for name in collectors), *roots(tree)[1]],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(collector):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", f"/metrics?collect[]={collector}")
        return connection.getresponse().read().decode()

    def answers():
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(collectors[0])
        return None
    try:
        wait_for("node_exporter's answer", answers)
        yield ask
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE)


def is_same(left, right):
    return left == right or (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=1e-9)


def without(key, label):
    return key[0], tuple(pair for pair in key[1] if pair[0] != label)


def differences(collector, mine, theirs, tree):
    is_live = tree is None
    left_out = WRONG_THERE | (set() if is_live or (tree / "run/udev/data").exists() else FROM_UDEV)
    values, types = parse(mine)
    expected, kinds = parse(theirs)
    success = expected.pop(("node_scrape_collector_success", (("collector", collector),)), 0)
    expected = {key: value for key, value in expected.items()
                if not key[0].startswith(("node_scrape_", "node_exporter_", "promhttp_"))
                and key[0] not in left_out and not any(name == "device" and device.startswith("zram") for name, device in key[1])}
    if not success and not expected:
        return 0, []  # no data, or a tree that it cannot read
    out = []
    for name in {key[0] for key in expected} & {key[0] for key in values}:
        if types.get(name) != kinds.get(name):
            out.append(f"{name} is {types.get(name)}, not {kinds.get(name)}")
    shown, renamed = {}, set()
    for key, value in values.items():
        label = OTHERWISE.get(key[0])
        key = without(key, label) if label else key
        if label:
            renamed.add(key)
        shown[key] = value
    for key, value in expected.items():
        label = OTHERWISE.get(key[0])
        key = without(key, label) if label else key
        if key not in shown:
            out.append(f"missing {key}")
        elif not is_same(shown[key], value) and (not is_live or STEADY.match(key[0])):
            out.append(f"{key} is {shown[key]}, not {value}")
    for key in shown:
        if key not in expected and not NEWER.match(key[0]) and key[0] not in left_out and key not in renamed:
            out.append(f"only here: {key}")
    return len(expected), out


def compare(tree, collectors):
    compared, wrong = 0, []
    with node_exporter(tree, collectors) as ask:
        for collector in collectors:
            count, found = differences(collector, ours(collector, tree), ask(collector), tree)
            compared += count
            wrong += [f"{collector}: {one}" for one in found]
    print(f"  {compared} series compared")
    if wrong:
        raise Failure(f"{len(wrong)} differences:\n  " + "\n  ".join(wrong[:60]))
    return compared


def main():
    def tree(name, least):
        def run():
            count = compare(TESTS / "hosts" / name, ON_TREES)
            expect(count >= least, f"only {count} series compared")
        return name, run

    def live():
        expect(compare(None, LIVE) > 300, "too few series to prove anything")
    run_tests([tree("server", 700), tree("small-vm", 150), tree("numa", 1000), ("this host", live)])


if __name__ == "__main__":
    main()

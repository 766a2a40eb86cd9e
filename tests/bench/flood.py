#!/usr/bin/env python3
"""A flood of advertisements to a MASTER, and what its own are like meanwhile.

Three namespaces on one bridge: a router with priority 200, its peer with priority 100, both of the same
daemon, and whoever floods. The flood is addressed to the router's MAC alone, so that the peer judges by
what it hears of the router. Of each kind of packets it is read for --window seconds what the daemon of
the router uses, how late its advertisements are, and how often the peer takes over. Then the router is
told to reload and to stop.
An advertisement is late by what it comes after the one before it plus the interval.
"""
import argparse
import ctypes
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

LBD = "{bin} -n -l -G -D -f {conf} -p {pid} --socket {pid}.sock --state-dir {pid}.state"
ROUTER, PEER, FLOODER, GROUP = "192.0.2.1", "192.0.2.2", "192.0.2.9", "224.0.0.18"
KINDS = ["none", "checksum", "password", "vrid", "ttl", "version", "lower"]
FIRST_VRID = 10
SO_TIMESTAMPNS, CLONE_NEWNET = 35, 0x40000000


def internet_checksum(octets):
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF ^ total


def advertisement(kind, number, args):
    """One packet of the flood, from the IP header on."""
    version, ttl, vrid, priority = 3, 255, FIRST_VRID + number % args.instances, 50
    if kind == "version":
        version = 2
    if kind == "ttl":
        ttl = 64
    if kind == "vrid":
        vrid = 250
    if kind == "password":
        version = 2
    vips = b"".join(socket.inet_aton(vip(vrid - FIRST_VRID, at)) for at in range(args.vips)) if kind != "vrid" else b""
    timing = struct.pack("!BB", 1 if kind == "password" else 0, 1) if version == 2 else struct.pack("!H", round(args.adv * 100))
    head = struct.pack("!BBBB", version << 4 | 1, vrid, priority, len(vips) // 4) + timing
    tail = vips + (b"wrong\0\0\0" if kind == "password" else bytes(8) if version == 2 else b"")
    source, group = socket.inet_aton(FLOODER), socket.inet_aton(GROUP)
    pseudo = source + group + struct.pack("!HH", 112, 8 + len(tail)) if version == 3 else b""
    checksum = internet_checksum(pseudo + head + b"\0\0" + tail)
    if kind == "checksum":
        checksum ^= 0x0101
    payload = head + struct.pack("!H", checksum) + tail
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0xC0, 20 + len(payload), number & 0xFFFF, 0, ttl, 112, 0, source, group)
    return ip[:10] + struct.pack("!H", internet_checksum(ip)) + ip[12:] + payload


def flood(kind, mac, interface, args):
    """Sends until it is told to stop; prints how many a second."""
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((interface, 0))
    ours = pathlib.Path(f"/sys/class/net/{interface}/address").read_text()
    frame = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex(ours.strip().replace(":", "")) + b"\x08\x00"
    frames = [frame + advertisement(kind, number, args) for number in range(args.instances)]
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    print("ready", flush=True)
    start, sent = time.monotonic(), 0
    while not ended:
        due = int((time.monotonic() - start) * args.rate)
        for number in range(sent, min(due, sent + 1000)):
            out.send(frames[number % len(frames)])
        if due <= sent:
            time.sleep(0.001)
        sent = min(due, sent + 1000)
    print(round(sent / (time.monotonic() - start)), flush=True)


def vip(instance, at):
    return f"198.51.{instance}.{at + 1}"


def configuration(kind, priority, args):
    version, interval = (2, 1) if kind == "password" else (3, args.adv)
    lines = ["global_defs {\n}"]
    for number in range(args.instances):
        lines.append(f"vrrp_instance I{number} {{\n state BACKUP\n interface e0\n virtual_router_id {FIRST_VRID + number}\n"
                     f" priority {priority}\n version {version}\n advert_int {interval}")
        if version == 2:
            lines.append(" authentication {\n auth_type PASS\n auth_pass right\n }")
        lines.append(" virtual_ipaddress {")
        lines += [f" {vip(number, at)}/32" for at in range(args.vips)]
        lines.append(" }\n}")
    if args.instances > 1:
        members = "\n".join(f" I{number}" for number in range(args.instances))
        lines.append(f"vrrp_sync_group G {{\n group {{\n{members}\n }}\n}}")
    return "\n".join(lines) + "\n"


def enter(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Observer(threading.Thread):
    """Notes when advertisements of the first instance come, and from whom."""

    def __init__(self, interface):
        super().__init__(daemon=True)
        self.heard = []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.socket.bind((interface, 0x0800))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.start()

    def run(self):
        while True:
            packet, control, _, _ = self.socket.recvmsg(64, 64)
            if packet[9] == 112 and packet[21] == FIRST_VRID:
                seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
                self.heard.append((seconds + nanoseconds / 1e9, socket.inet_ntoa(packet[12:16]), packet[22]))


class Daemon:
    def __init__(self, netns, conf, directory, args):
        self.netns, self.base = netns, f"{directory}/{netns}"
        pathlib.Path(f"{self.base}.conf").write_text(conf)
        command = args.cmd.format(bin=args.bin, conf=f"{self.base}.conf", pid=f"{self.base}.pid")
        with open(f"{self.base}.log", "wb") as log:
            self.process = subprocess.Popen(["ip", "netns", "exec", netns, *shlex.split(command)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def family(self):
        """The process and all that it has started."""
        children = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found = [self.process.pid]
        for parent in found:
            found += children.get(parent, [])
        return found

    def cpu(self):
        """Seconds of all threads."""
        total = 0
        for process in self.family():
            for task in pathlib.Path(f"/proc/{process}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def rss_kb(self):
        status = (pathlib.Path(f"/proc/{process}/status").read_text() for process in self.family())
        return sum(int(re.search(r"^VmRSS:\s+(\d+)", text, re.M)[1]) for text in status)

    def vips(self):
        shown = subprocess.run(["ip", "-n", self.netns, "-o", "-4", "addr"], capture_output=True, text=True, check=True)
        return shown.stdout.count(" 198.51.")

    def wait_for_vips(self, count, seconds):
        """Seconds until it has so many; `None` when it has not."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            if self.vips() == count:
                return round(time.monotonic() - start, 2)
            time.sleep(0.05)
        return None

    def reload(self, seconds):
        """Seconds until a VIP that is new in the file is there."""
        path = pathlib.Path(f"{self.base}.conf")
        vips = self.vips()
        path.write_text(path.read_text().replace(" virtual_ipaddress {", " virtual_ipaddress {\n 198.51.255.1/32", 1))
        self.process.send_signal(signal.SIGHUP)
        return self.wait_for_vips(vips + 1, seconds)

    def stop(self, seconds):
        """Seconds until it has ended, its status, and the VIPs that are left."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = None
        return {"stop_s": round(time.monotonic() - start, 2), "status": status, "vips_left": self.vips()}


class Quota:
    """A share of a processor for what is put in: `cpu.max` of cgroup v2, or the same of v1."""

    def __init__(self, share):
        quota, period = round(share * 100_000), 100_000
        name = f"flood-bench-{os.getpid()}"
        v2, v1 = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/cpu")
        if (v2 / "cgroup.controllers").exists() and "cpu" in (v2 / "cgroup.controllers").read_text().split():
            self.group, knobs = v2 / name, {"cpu.max": f"{quota} {period}"}
        elif v1.exists():
            self.group, knobs = v1 / name, {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)}
        else:
            sys.exit("no cgroup with a CPU controller can be written here")
        self.group.mkdir()
        for knob, value in knobs.items():
            (self.group / knob).write_text(value)

    def put(self, daemon):
        for process in daemon.family():
            (self.group / "cgroup.procs").write_text(str(process))

    def remove(self):
        for _ in range(50):
            try:
                return self.group.rmdir()
            except OSError:
                time.sleep(0.1)


def measure(kind, args):
    names = {end: f"flood{os.getpid()}{end}" for end in ("a", "b", "f")}
    started, quota, found = [], None, {}
    run = lambda end, *argv: subprocess.run(["ip", "-n", names[end], *argv], check=True)
    for name in names.values():
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with tempfile.TemporaryDirectory(prefix="flood-bench-") as directory:
            run("f", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            run("f", "link", "set", "br0", "up")
            for end, address in (("a", ROUTER), ("b", PEER)):
                run("f", "link", "add", f"p{end}", "type", "veth", "peer", "name", "e0", "netns", names[end])
                run("f", "link", "set", f"p{end}", "master", "br0", "up")
                run(end, "link", "set", "lo", "up")
                run(end, "link", "set", "e0", "up")
                run(end, "addr", "add", f"{address}/24", "dev", "e0")
            shown = subprocess.run(["ip", "-n", names["a"], "-j", "link", "show", "e0"], capture_output=True, check=True)
            mac = json.loads(shown.stdout)[0]["address"]
            router, peer = (Daemon(names[end], configuration(kind, priority, args), directory, args)
                            for end, priority in (("a", 200), ("b", 100)))
            started += [router.process, peer.process]
            with open("/proc/self/ns/net") as here, open(f"/run/netns/{names['f']}") as there:
                enter(there)
                observer = Observer("br0")
                enter(here)
            wanted = args.instances * args.vips
            if router.wait_for_vips(wanted, 30) is None or peer.wait_for_vips(0, 30) is None:
                sys.exit("the router did not become MASTER:\n" + pathlib.Path(f"{router.base}.log").read_text()[-2000:])
            time.sleep(args.settle)
            if args.quota:
                quota = Quota(args.quota)
                quota.put(router)
                time.sleep(1)
            found["rss_kb"] = router.rss_kb()
            before = time.time(), router.cpu(), len(observer.heard)
            if kind != "none":
                flooder = subprocess.Popen(["ip", "netns", "exec", names["f"], sys.executable, __file__, "--flood", kind, mac,
                                            "--rate", str(args.rate), "--adv", str(args.adv), "--instances", str(args.instances),
                                            "--vips", str(args.vips)], stdout=subprocess.PIPE, text=True)
                started.append(flooder)
                flooder.stdout.readline()
            time.sleep(args.window)
            window = time.time() - before[0]
            found["cpu"] = round((router.cpu() - before[1]) / window, 4)
            heard = observer.heard[before[2]:]
            at = [when for when, source, priority in heard if source == ROUTER and priority] + [time.time()]
            interval = 1 if kind == "password" else args.adv
            late = sorted(max(0, b - a - interval) for a, b in zip(at, at[1:])) or [window]
            found |= {"late_ms": {"median": round(late[len(late) // 2] * 1e3, 1), "max": round(late[-1] * 1e3, 1)},
                      "adverts": len(at) - 1, "adverts_due": round(window / interval), "rss_after_kb": router.rss_kb(),
                      "peer_adverts": sum(source == PEER for _, source, _ in heard)}
            found["reload_s"] = router.reload(30)
            found |= router.stop(60)
            if kind != "none":
                flooder.send_signal(signal.SIGTERM)
                found["offered_per_s"] = int(flooder.communicate()[0].split()[-1])
                found["us_per_packet"] = round(found["cpu"] / found["offered_per_s"] * 1e6, 2)
        return found
    finally:
        for process in reversed(started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if quota:
            quota.remove()
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of " + ", ".join(KINDS))
    parser.add_argument("--rate", type=float, default=30_000, help="packets a second")
    parser.add_argument("--adv", type=float, default=0.1, help="seconds between advertisements; 1 for passwords")
    parser.add_argument("--instances", type=int, default=1, help="in one sync group if more than one")
    parser.add_argument("--vips", type=int, default=1, help="of each instance")
    parser.add_argument("--quota", type=float, help="of one processor for the router, such as 0.025")
    parser.add_argument("--window", type=float, default=10, help="seconds")
    parser.add_argument("--settle", type=float, default=3, help="seconds before the flood")
    parser.add_argument("--bin", default="target/release/lbd")
    parser.add_argument("--cmd", default=LBD, help="command line of the daemon, with {bin} {conf} {pid}")
    parser.add_argument("--flood", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.flood:
        return flood(*args.flood, "br0", args)
    args.bin = os.path.abspath(args.bin)
    found = {kind: measure(kind, args) for kind in args.kinds.split(",")}
    print(json.dumps({"bench": "flood", "bin": args.bin, "rate": args.rate, "adv_s": args.adv, "instances": args.instances,
                      "vips": args.vips, "quota": args.quota, "window_s": args.window, "load": os.getloadavg()[0], **found}))


if __name__ == "__main__":
    main()

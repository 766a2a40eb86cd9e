#!/usr/bin/env python3
"""One lbd with N vhids beside N ucarp processes: CPU and memory, as MASTER and as BACKUP.

For each daemon in turn: side A (advskew 0) starts alone and becomes MASTER of all vhids, then side B
(advskew 100) starts as its backup. After a settling time the CPU of each side is read over --window
seconds, and its memory (PSS) at the end; at that moment A must have every VIP and B none.
At most 255 vhids per segment, so N > --per-if uses several veth pairs.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

PASSPHRASE = "mekmitasdigoat"


def ip(lines, netns):
    """Runs many `ip` commands in one process."""
    subprocess.run(["ip", "-n", netns, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def vip(index, per_if):
    return f"10.{64 + index // per_if}.{index % per_if + 1}.1"


class Side:
    """The daemons of one side; only these are ever signalled."""

    def __init__(self, netns, number, directory):
        self.netns, self.number, self.directory = netns, number, pathlib.Path(directory)
        self.processes = []

    def spawn(self, argv, log):
        with open(self.directory / log, "ab") as out:
            process = subprocess.Popen(["ip", "netns", "exec", self.netns, *argv],
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.processes.append(process)

    def start_lbd(self, args):
        blocks = [
            f"carp_instance C{i} {{\n interface e{i // args.per_if}\n vhid {i % args.per_if + 1}\n pass {PASSPHRASE}\n"
            f" advbase 1\n advskew {100 * self.number}\n virtual_ipaddress {{\n  {vip(i, args.per_if)}/32\n }}\n}}\n"
            for i in range(args.n)
        ]
        config = self.directory / f"lbd{self.number}.conf"
        config.write_text("".join(blocks))
        pid = self.directory / f"lbd{self.number}.pid"
        self.spawn([args.lbd, "-n", "-l", "-G", "-D", "-f", config, "-p", pid, "--socket",
                    self.directory / f"lbd{self.number}.sock"], f"lbd{self.number}.log")

    def start_ucarp(self, args):
        scripts = {}
        for name, verb in (("up", "add"), ("down", "del")):
            scripts[name] = self.directory / name
            scripts[name].write_text(f'#!/bin/sh\nexec ip addr {verb} "$2/32" dev "$1"\n')
            scripts[name].chmod(0o755)
        for i in range(args.n):
            segment = i // args.per_if
            self.spawn([args.ucarp, "-i", f"e{segment}", "-s", f"10.200.{segment}.{self.number + 1}",
                        "-v", str(i % args.per_if + 1), "-p", PASSPHRASE, "-a", vip(i, args.per_if),
                        "-b", "1", "-k", str(100 * self.number), "-n", "-f", "none",
                        "-u", scripts["up"], "-d", scripts["down"]], f"ucarp{self.number}.log")

    def vips(self):
        shown = subprocess.run(["ip", "-n", self.netns, "-o", "-4", "addr"], capture_output=True, text=True, check=True)
        return len(re.findall(r"inet 10\.(?!200\.)\d+\.\d+\.1/32", shown.stdout))

    def cpu(self):
        """Seconds of all threads."""
        total = 0
        for process in self.processes:
            for task in os.listdir(f"/proc/{process.pid}/task"):
                total += int(pathlib.Path(f"/proc/{process.pid}/task/{task}/schedstat").read_text().split()[0])
        return total / 1e9

    def pss_kb(self):
        rollups = (pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text() for process in self.processes)
        return sum(int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) for rollup in rollups)

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(30)


def wait_for_vips(side, count, timeout):
    end = time.monotonic() + timeout
    while side.vips() != count:
        if time.monotonic() > end:
            sys.exit(f"{side.vips()} of {count} VIPs after {timeout} s; see {side.directory}")
        time.sleep(0.5)


def measure(args, daemon, netns, directory):
    sides = [Side(netns[0], 0, directory), Side(netns[1], 1, directory)]
    start = Side.start_lbd if daemon == "lbd" else Side.start_ucarp
    try:
        start(sides[0], args)
        wait_for_vips(sides[0], args.n, 120)
        start(sides[1], args)
        # Longer than the patience of side B, and than the second round of gratuitous ARP of side A.
        time.sleep(args.settle)
        before, at = [side.cpu() for side in sides], time.monotonic()
        time.sleep(args.window)
        after, window = [side.cpu() for side in sides], time.monotonic() - at
        cpu = [(b - a) / window for a, b in zip(before, after)]
        return {
            "processes": len(sides[0].processes),
            "vips": [side.vips() for side in sides],
            "cpu_master": round(cpu[0], 6), "cpu_backup": round(cpu[1], 6),
            "pss_master_kb": sides[0].pss_kb(), "pss_backup_kb": sides[1].pss_kb(),
        }
    finally:
        for side in sides:
            side.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500, help="vhids")
    parser.add_argument("--per-if", type=int, default=250, help="vhids on one segment, up to 255")
    parser.add_argument("--window", type=float, default=30, help="seconds")
    parser.add_argument("--settle", type=float, default=12, help="seconds before")
    parser.add_argument("--lbd", default="target/release/lbd")
    parser.add_argument("--ucarp", default="/usr/sbin/ucarp")
    args = parser.parse_args()
    args.lbd = os.path.abspath(args.lbd)

    netns = [f"carp{os.getpid()}{side}" for side in "ab"]
    try:
        for name in netns:
            subprocess.run(["ip", "netns", "add", name], check=True)
        segments = range((args.n + args.per_if - 1) // args.per_if)
        ip(["link set lo up", *(f"link add e{k} type veth peer name e{k} netns {netns[1]}" for k in segments)], netns[0])
        for number, name in enumerate(netns):
            ip([line for k in segments
                for line in (f"addr add 10.200.{k}.{number + 1}/24 dev e{k}", f"link set e{k} up")], name)
        with tempfile.TemporaryDirectory(prefix="carp-bench-") as directory:
            found = {daemon: measure(args, daemon, netns, directory) for daemon in ("lbd", "ucarp")}
    finally:
        for name in netns:
            subprocess.run(["ip", "netns", "del", name], check=False)
    figures = [key for key in found["lbd"] if key.startswith(("cpu", "pss"))]
    ratios = {key: round(found["lbd"][key] / found["ucarp"][key], 5) for key in figures}
    print(json.dumps({"bench": "carp", "n": args.n, "window_s": args.window, "load": os.getloadavg()[0],
                      **found, "lbd_to_ucarp": ratios}))


if __name__ == "__main__":
    main()

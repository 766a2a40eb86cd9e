#!/usr/bin/env python3
"""N servers checked once a second, and half of them that stop answering at one moment.

All servers are addresses of one network namespace, answered by one process that notes when each was
checked. After a settling time it is read for --window seconds how many checks came, how late they were,
and what they cost the daemon. Then the packets to half of the servers vanish, so that connects hang
until their timeout of two seconds, and the same is read for the other half.
A check is in time when it comes at most --late seconds after the one before it was followed by a second.
"""
import argparse
import json
import mmap
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

LBD = "{bin} -n -l -G -D -f {conf} -p {pid} --socket {pid}.sock --state-dir {pid}.state --dataplane none"
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
# Halves of a network that is this namespace's own: 10.0.x.y goes on answering, 10.32.x.y does not.
STAYS, HANGS = "10.0", "10.32"


def address(index, count):
    half, index = (STAYS, index) if index < count // 2 else (HANGS, index - count // 2)
    return f"{half}.{index >> 8}.{index & 255}"


def respond(kind, notes):
    """Answers for ever. Notes the moment of each check: one double for each server, then its longest gap."""
    with open(notes, "r+b") as file:
        table = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")
    count = len(table) // 3
    last, gap, checks = table[:count], table[count : 2 * count], table[2 * count :]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == "http":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    listener.bind(("0.0.0.0", 80))
    listener.listen(65535)
    print("ready", flush=True)
    half, clock = count // 2, time.monotonic
    while True:
        client, _ = listener.accept()
        one, two, three, four = client.getsockname()[0].split(".")
        at = int(three) * 256 + int(four) + (half if two != "0" else 0)
        now = clock()
        if last[at]:
            gap[at] = max(gap[at], now - last[at])
        last[at] = now
        checks[at] += 1
        if kind == "http":
            try:
                client.recv(2048)
                client.send(ANSWER)
            except OSError:
                pass  # it has gone
        client.close()


def configuration(args):
    check = "TCP_CHECK {" if args.type == "tcp" else "HTTP_GET {\n url {\n path /\n status_code 200\n }"
    check += "\n connect_timeout 2\n retry 1\n delay_before_retry 1\n }"
    lines = ["global_defs {\n}"]
    for first in range(0, args.n, 10):
        lines.append(f"virtual_server 10.16.{first // 10 >> 8}.{first // 10 & 255} 80 {{\n delay_loop 1\n lb_algo rr\n"
                     " lb_kind NAT\n protocol TCP")
        lines += [f" real_server {address(n, args.n)} 80 {{\n {check}\n }}" for n in range(first, min(first + 10, args.n))]
        lines.append("}")
    return "\n".join(lines) + "\n"


def family(pid):
    """The process and all that it has started."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def cpu(pid):
    """Seconds of all threads of the daemon's processes."""
    total = 0
    for process in family(pid):
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def pss_kb(pid):
    return sum(int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{process}/smaps_rollup").read_text(), re.M)[1])
               for process in family(pid))


def read(args, table, pid, servers):
    """Figures of some servers over the window."""
    count = len(table) // 3
    gap, checks = slice(count + servers.start, count + servers.stop), slice(2 * count + servers.start, 2 * count + servers.stop)
    for at in range(gap.start, gap.stop):
        table[at] = 0
    before, used, start = sum(table[checks]), cpu(pid), time.monotonic()
    time.sleep(args.window)
    window, done = time.monotonic() - start, sum(table[checks]) - before
    gaps = sorted(table[gap])
    return {
        "wanted_per_s": servers.stop - servers.start, "done_per_s": round(done / window, 1),
        "late_servers": sum(found > 1 + args.late or found == 0 for found in gaps),
        "longest_gap_s": round(gaps[-1], 3), "cpu": round((cpu(pid) - used) / window, 4), "pss_kb": pss_kb(pid),
    }


def main():
    if sys.argv[1:2] == ["--respond"]:
        return respond(*sys.argv[2:4])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="servers")
    parser.add_argument("--type", choices=["tcp", "http"], default="http")
    parser.add_argument("--window", type=float, default=10, help="seconds")
    parser.add_argument("--settle", type=float, default=5, help="seconds before each reading")
    parser.add_argument("--late", type=float, default=0.25, help="seconds")
    parser.add_argument("--bin", default="target/release/lbd")
    parser.add_argument("--cmd", default=LBD, help="command line of the daemon, with {bin} {conf} {pid}")
    parser.add_argument("--preload", help="library for the daemon: keepalived needs one that answers for IPVS")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)

    netns, started = f"checks{os.getpid()}", []
    run = lambda *argv: subprocess.run(["ip", "-n", netns, *argv], check=True)
    inside = lambda argv, **how: started.append(subprocess.Popen(["ip", "netns", "exec", netns, *argv], **how)) or started[-1]
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        with tempfile.TemporaryDirectory(prefix="checks-bench-") as directory:
            run("link", "set", "lo", "up")
            run("link", "add", "hole", "type", "veth", "peer", "name", "bottom")
            for end in "hole", "bottom":
                run("link", "set", end, "up", "arp", "off")  # frames to a MAC address that nobody has
            for half in STAYS, HANGS:
                run("route", "add", "local", f"{half}.0.0/11", "dev", "lo")
            run("addr", "add", "10.64.0.1/32", "dev", "lo")
            for name, value in (("net.ipv4.tcp_max_tw_buckets", 4096), ("net.core.somaxconn", 65535),
                                ("net.ipv4.tcp_max_syn_backlog", 65535), ("net.ipv4.tcp_syncookies", 0)):
                subprocess.run(["ip", "netns", "exec", netns, "sysctl", "-q", f"{name}={value}"], check=False)
            notes = pathlib.Path(directory) / "notes"
            notes.write_bytes(bytes(8 * 3 * args.n))
            responder = inside([sys.executable, __file__, "--respond", args.type, notes], stdout=subprocess.PIPE)
            responder.stdout.readline()
            with open(notes, "r+b") as file:
                table = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")

            conf = pathlib.Path(directory) / "conf"
            conf.write_text(configuration(args))
            command = args.cmd.format(bin=args.bin, conf=conf, pid=f"{directory}/pid")
            environment = dict(os.environ, **({"LD_PRELOAD": args.preload} if args.preload else {}))
            with open(pathlib.Path(directory) / "log", "wb") as log:
                daemon = inside(shlex.split(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            time.sleep(args.settle + 2)
            found = {"all": read(args, table, daemon.pid, range(args.n))}
            run("route", "del", "local", f"{HANGS}.0.0/11", "dev", "lo")
            run("route", "add", f"{HANGS}.0.0/11", "dev", "hole", "src", "10.64.0.1")
            # From the first moment on: it is then that thousands hang at once.
            found["half_hangs"] = read(args, table, daemon.pid, range(args.n // 2))
            done = found["all"]["done_per_s"]
            found["all"]["us_per_check"] = round(found["all"]["cpu"] / done * 1e6, 1) if done else None
            print(json.dumps({"bench": "checks", "bin": args.bin, "type": args.type, "n": args.n,
                              "window_s": args.window, "load": os.getloadavg()[0], **found}))
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        subprocess.run(["ip", "netns", "del", netns], check=False)


if __name__ == "__main__":
    main()

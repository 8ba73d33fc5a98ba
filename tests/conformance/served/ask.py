"""Asks from within a pod: ask.py http URL [SOURCE] | udp HOST PORT WORD | tcp HOST PORT | names KIND NAME [SERVER] ; says the answer, or ends with 1.

`names` sends one question to the name servers of /etc/resolv.conf, with its search paths, by UDP and then by TCP: both have to say the same.
"""

import random
import socket
import struct
import sys

KINDS = {"A": 1, "CNAME": 5, "PTR": 12, "AAAA": 28, "SRV": 33}


def http(url, source=""):
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), 3, (source, 0)) as link:
        link.sendall(f"GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        said = b"".join(iter(lambda: link.recv(4096), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0] + b" ":
        sys.exit(head.decode())
    return body.decode()


def udp(host, port, *words):
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.settimeout(3)
    link.connect((socket.gethostbyname(host), int(port)))
    link.send(" ".join(words).encode())
    return link.recv(4096).decode()


def tcp(host, port):
    socket.create_connection((host, int(port)), 3).close()
    return "connected"


def name_at(message, at):
    labels, end = [], None
    while length := message[at]:
        if length >= 0xC0:
            end, at = end or at + 2, struct.unpack("!H", message[at : at + 2])[0] & 0x3FFF
            continue
        labels.append(message[at + 1 : at + 1 + length].decode())
        at += length + 1
    return ".".join(labels) + ".", end or at + 1


def question(name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!6H", random.randrange(65536), 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, KINDS[kind], 1)


def records(message, kind):
    """Of an answer: the records of this kind, sorted, and whether it was refused (NXDOMAIN and the like)."""
    asked, answers = struct.unpack("!2H", message[4:8])
    at, found = 12, []
    for _ in range(asked):
        at = name_at(message, at)[1] + 4
    for _ in range(answers):
        at = name_at(message, at)[1]
        is_kind, _, _, length = struct.unpack("!HHIH", message[at : at + 10])
        data, at = at + 10, at + 10 + length
        if is_kind != KINDS[kind]:
            continue
        if kind == "A":
            found.append(socket.inet_ntoa(message[data:at]))
        elif kind == "SRV":
            found.append("{} {} {} ".format(*struct.unpack("!3H", message[data : data + 6])) + name_at(message, data + 6)[0])
        else:
            found.append(name_at(message, data)[0] if kind != "AAAA" else socket.inet_ntop(socket.AF_INET6, message[data:at]))
    return sorted(found)


def exchange(server, message, by_tcp):
    if not by_tcp:
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.settimeout(3)
        link.sendto(message, (server, 53))
        return link.recv(4096)
    with socket.create_connection((server, 53), 3) as link:
        link.sendall(struct.pack("!H", len(message)) + message)
        answers = link.makefile("rb")
        return answers.read(struct.unpack("!H", answers.read(2))[0])


def names(kind, name, *servers):
    lines = [line.split() for line in open("/etc/resolv.conf")]
    servers = servers or [line[1] for line in lines if line[:1] == ["nameserver"]]
    paths = [] if name.endswith(".") else [path for line in lines if line[:1] == ["search"] for path in line[1:]]
    for full in [f"{name}.{path}" for path in paths] + [name]:
        by_udp, by_tcp = (records(exchange(servers[0], question(full, kind), way), kind) for way in (False, True))
        if by_udp != by_tcp:
            sys.exit(f"{full}: {by_udp} by UDP, {by_tcp} by TCP")
        if by_udp:
            return "\n".join(by_udp)
    sys.exit(f"no {kind} of {name}")


if __name__ == "__main__":
    print({"http": http, "udp": udp, "tcp": tcp, "names": names}[sys.argv[1]](*sys.argv[2:]))

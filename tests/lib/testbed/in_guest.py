#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in the guest (agent.py sends it there): does what it reads from its standard input, one JSON object a line.

One process for all, because a new one costs the emulated machine as much as a fence and a reset. Each request runs in
a thread of its own: a write to sysfs may take a minute. The answers carry the request's number.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading

GENERIC, CONTROL = 16, 16  # NETLINK_GENERIC, GENL_ID_CTRL
GET_FAMILY, FAMILY_ID, FAMILY_NAME = 3, 1, 2
REQUEST, ACK, DUMP, ERROR, DONE = 1, 4, 0x300, 2, 3
DEVICE_GET, DEVICE_FENCE, DEVICE_REATTACH = 1, 2, 3
BUS, DEV, REASON, STATE, FENCE_ID, SUPPRESSED = 4, 5, 10, 11, 3, 14
STATES = {1: "active", 2: "fenced", 3: "sanitized"}
out = threading.Lock()


def attribute(kind, value):
    data = struct.pack("HH", 4 + len(value), kind) + value
    return data + bytes(-len(data) % 4)


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind & 0x3fff, data[4:length]
        data = data[length + 3 & ~3:]


def number(data):
    return int.from_bytes(data, sys.byteorder)


def ask(family, command, payload=b"", flags=ACK):
    """The attributes of each answer; raises OSError with what the kernel says."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC) as link:
        link.settimeout(60)
        body = struct.pack("BBH", command, 1, 0) + payload
        link.send(struct.pack("IHHII", 16 + len(body), family, REQUEST | flags, 1, 0) + body)
        found = []
        while True:
            data = link.recv(1 << 16)
            while data:
                length, kind = struct.unpack_from("IH", data)
                message, data = data[16:length], data[length + 3 & ~3:]
                if kind == ERROR and struct.unpack_from("i", message)[0]:
                    code = -struct.unpack_from("i", message)[0]
                    raise OSError(code, os.strerror(code))
                if kind in (ERROR, DONE):
                    return found
                found.append(dict(attributes(message[4:])))


def family():
    if not hasattr(family, "known"):
        answer = ask(CONTROL, GET_FAMILY, attribute(FAMILY_NAME, b"iommu-ras\0"))
        family.known = number(answer[0][FAMILY_ID])
    return family.known


def named(device):
    return attribute(BUS, b"pci\0") + attribute(DEV, device.encode() + b"\0")


def do_fences(_):
    """{device: {state, id, …}} of all that are not active."""
    return {each[DEV].rstrip(b"\0").decode(): {
        "state": STATES[number(each[STATE])], "reason": number(each[REASON]), "id": number(each[FENCE_ID]),
        "suppressed": number(each.get(SUPPRESSED, b""))} for each in ask(family(), DEVICE_GET, flags=DUMP)}


def do_reattach(request):
    ask(family(), DEVICE_REATTACH, named(request["device"]))


def do_fence(request):
    ask(family(), DEVICE_FENCE, named(request["device"]))


def do_write(request):
    with open(request["path"], "w", encoding="ascii") as file:
        file.write(request["value"])


def do_link(request):
    try:
        return os.readlink(request["path"]).rpartition("/")[2]
    except FileNotFoundError:
        return ""


def do_sh(request):
    done = subprocess.run(request["command"], shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    return [done.returncode, done.stdout]


def serve(request):
    try:
        answer = {"answer": globals()["do_" + request["do"]](request)}
    except OSError as error:
        answer = {"error": f"{error.strerror} ({error.errno})"}
    with out:
        print(json.dumps({"id": request["id"], **answer}), flush=True)


for text in sys.stdin:
    threading.Thread(target=serve, args=(json.loads(text),), daemon=True).start()

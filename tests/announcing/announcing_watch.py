"""Asks for an address by ARP every 20 ms from where it runs, and tells when which hardware address answered.

usage: announcing_watch.py INTERFACE ADDRESS SOURCE; prints `ready`, then a line `TIME HARDWARE` for each answer, and
for each announcement that nobody asked for one with the word `unasked` behind. Ends with its input.
"""

import select
import socket
import struct
import sys
import time

FORM = struct.Struct("!6s6sHHHBBH6s4s6s4s")
interface, wanted, source = sys.argv[1], socket.inet_aton(sys.argv[2]), socket.inet_aton(sys.argv[3])
opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
opened.bind((interface, 0x0806))
mine = opened.getsockname()[4]
asking = FORM.pack(b"\xff" * 6, mine, 0x0806, 1, 0x0800, 6, 4, 1, mine, source, b"\0" * 6, wanted)
due = time.monotonic()
sys.stdout.write("ready\n")
sys.stdout.flush()
while True:
    readable, _, _ = select.select([opened, sys.stdin], [], [], max(0.0, due - time.monotonic()))
    if opened in readable:
        fields = FORM.unpack_from(opened.recv(2048))
        if fields[9] == wanted and fields[8] != mine:
            unasked = " unasked" if fields[11] == wanted else ""
            sys.stdout.write(f"{time.monotonic()} {fields[8].hex(':')}{unasked}\n")
            sys.stdout.flush()
    if sys.stdin in readable and not sys.stdin.readline():
        break
    if time.monotonic() >= due:
        opened.send(asking)
        due = time.monotonic() + 0.02

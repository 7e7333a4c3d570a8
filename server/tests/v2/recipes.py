"""What programs do with python-etcd: run against a list of ports, one member's or all's.

It ends with the word `done`; anything else is a failure.
"""

import sys
import threading
import time

import etcd

hosts = tuple(("127.0.0.1", int(port)) for port in sys.argv[1:])
many = len(hosts) > 1


def connect(**more):
    if many:
        return etcd.Client(host=hosts, allow_reconnect=True, **more)
    return etcd.Client(host=hosts[0][0], port=hosts[0][1], **more)


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error:
        return
    raise AssertionError(f"{call} {arguments} {named} was not refused")


client = connect()

# Files and directories.
client.write("/n/one", "1")
assert client.read("/n/one").value == "1"
client.write("/n/two", "2", prevExist=False)
refused(etcd.EtcdAlreadyExist, client.write, "/n/two", "2", prevExist=False)
refused(etcd.EtcdKeyNotFound, client.read, "/n/three")
refused(etcd.EtcdNotDir, client.write, "/n/one/below", "x")
refused(etcd.EtcdNotFile, client.write, "/n", "x")
refused(etcd.EtcdDirNotEmpty, client.delete, "/n", dir=True)
refused(etcd.EtcdRootReadOnly, client.delete, "/", dir=True)
children = sorted(child.key for child in client.read("/n", recursive=True, sorted=True).children)
assert children == ["/n/one", "/n/two"], children
assert client.read("/n").dir and client.get("/n/one").etcd_index >= 2

# Conditions.
refused(etcd.EtcdCompareFailed, client.test_and_set, "/n/one", "3", "wrong")
swapped = client.test_and_set("/n/one", "3", "1")
assert swapped.action == "compareAndSwap" and swapped._prev_node.value == "1"
client.write("/n/one", "4", prevIndex=swapped.modifiedIndex)
refused(etcd.EtcdCompareFailed, client.write, "/n/one", "5", prevIndex=swapped.modifiedIndex)
refused(etcd.EtcdCompareFailed, client.delete, "/n/one", prevValue="wrong")
read = client.read("/n/one")
read.value = "6"
client.update(read)
assert client.delete("/n/one", prevValue="6").action == "compareAndDelete"

# In order.
queue = [client.write("/queue", str(n), append=True).key for n in range(5)]
assert queue == sorted(queue) and all(len(key) == len("/queue/") + 20 for key in queue), queue

# Times to live.
client.write("/n/short", "x", ttl=1)
client.write("/n/kept", "x", ttl=60)
client.refresh("/n/kept", ttl=600)
assert client.read("/n/kept").ttl > 60
client.write("/n/dir", None, dir=True, ttl=600)
assert 1 <= client.read("/n/dir").ttl <= 600
deadline = time.monotonic() + 20
while "/n/short" in client:
    assert time.monotonic() < deadline, "a time to live did not end"
    time.sleep(0.1)
assert client.read("/n/kept").value == "x"

# Watching: what was, what comes, and what was too long ago.
past = client.write("/w/a", "1").modifiedIndex
last = client.write("/w/a", "2").modifiedIndex
assert client.watch("/w/a", index=past).value == "1"
assert client.watch("/w", index=past + 1, recursive=True).value == "2"
writer = threading.Timer(0.3, lambda: connect().write("/w/b", "3"))
writer.start()
assert client.watch("/w", index=last + 1, recursive=True, timeout=60).key == "/w/b"
writer.join()
told = client.eternal_watch("/w", index=past, recursive=True)
assert [next(told).value for _ in range(3)] == ["1", "2", "3"]
refused(etcd.EtcdWatchTimedOut, client.watch, "/w", timeout=1)

# Locks: one holder at a time, in the order of asking, and none for ever.
held = []


def work(name):
    lock = etcd.Lock(connect(), "room")
    assert lock.acquire(blocking=True, lock_ttl=60, timeout=60)
    held.append(("in", name))
    time.sleep(0.05)
    held.append(("out", name))
    lock.release()


workers = [threading.Thread(target=work, args=(n,)) for n in range(5)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join(90)
assert len(held) == 10, held
assert all(a[1] == b[1] for a, b in zip(held[::2], held[1::2])), held
lost = etcd.Lock(client, "lost")
assert lost.acquire(blocking=True, lock_ttl=3)
heir = etcd.Lock(connect(), "lost")
assert heir.acquire(blocking=True, lock_ttl=60, timeout=60) and heir.is_acquired
heir.release()

# What is there.
assert len(client.machines) + (not many) >= 1
assert len(client.members) == len(hosts), client.members
assert client.leader["name"], client.leader
assert client.stats["id"] and client.store_stats["setsSuccess"] >= 1
if not many:
    assert client.leader_stats["leader"]
print("done")

"""What etcd3gw can do, in order; prints what it gets, without what no two clusters share."""

import sys
import time

import etcd3gw
from etcd3gw.lock import Lock

client = etcd3gw.Etcd3Client(
    host="127.0.0.1", port=int(sys.argv[1]), api_path=sys.argv[2], timeout=30
)


def show(*things):
    print(*things, flush=True)


show("status", "version" in client.status(), len(client.members()))
show("put", client.put("k", "v"), client.put("k", "v2"), client.put("other", b"\x00\xff"))
show("get", client.get("k"), client.get("none"), client.get("other"))
show("metadata", [(value, kv["version"]) for value, kv in client.get("k", metadata=True)])
show("create", client.create("k", "x"), client.create("new", "x"))
show("replace", client.replace("k", "v2", "v3"), client.replace("k", "v2", "v4"))
for number in range(5):
    client.put("p/%d" % number, "value %d" % (9 - number))
show("prefix", [value for value, _ in client.get_prefix("p/")])
show("sorted", [value for value, _ in client.get_prefix("p/", sort_order="descend", sort_target="key")])
show("all", len(client.get_all()))
show("delete", client.delete("k"), client.delete("k"), client.delete_prefix("p/"))

lease = client.lease(ttl=60)
show("leased", client.put("l", "v", lease), lease.refresh(), lease.ttl() > 50, lease.keys())
show("revoke", lease.revoke(), client.get("l"))

show("txn", client.transaction({
    "compare": [{"key": "bmV3", "result": "EQUAL", "target": "VALUE", "value": "eA=="}],
    "success": [{"request_put": {"key": "bmV3", "value": "eQ=="}}],
    "failure": [{"request_range": {"key": "bmV3"}}],
})["succeeded"], client.get("new"))

events, cancel = client.watch("w")
client.put("w", "1")
client.put("w", "2")
client.delete("w")
seen = []
for event in events:
    seen.append((event.get("type", "PUT"), event["kv"].get("value")))
    if len(seen) == 3:
        cancel()
        break
show("watch", seen)

events, cancel = client.watch_prefix("wp/")
client.put("wp/a", "1")
show("watch_prefix", next(events)["kv"]["key"])
cancel()

first, second = Lock("lock", ttl=60, client=client), Lock("lock", ttl=60, client=client)
show("lock", first.acquire(), second.acquire(), first.is_acquired(), first.refresh())
show("unlock", first.release(), second.acquire(), second.release())

lease = client.lease(ttl=2)
client.put("short", "v", lease)
deadline = time.time() + 30
while client.get("short") and time.time() < deadline:
    time.sleep(0.1)
show("expired", client.get("short"))

try:
    client.put("", "v")
except etcd3gw.exceptions.Etcd3Exception as error:
    show("refused", type(error).__name__)
show("done")

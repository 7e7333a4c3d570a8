#!/usr/bin/env python3
"""Asks a fresh etcd what it answers to a script of auth requests.

    record.py http://127.0.0.1:2379 < script.txt > transcript.txt
    record.py --random SEED LINES > script.txt

A line is `caller operation arguments...`; `-` is no caller, `""` an empty argument, `\\0` a zero
byte. Recording appends ` -> answer @auth-revision`. Old answers in a script are dropped. The etcd
must be empty, listen on loopback, and run with `--bcrypt-cost 4`, or it takes minutes.
"""
import base64
import json
import random
import sys
import urllib.error
import urllib.request

PASSWORD = "p"


def main():
    if sys.argv[1] == "--random":
        sys.stdout.write("\n".join(random_script(int(sys.argv[2]), int(sys.argv[3]))) + "\n")
        return
    etcd = Etcd(sys.argv[1])
    for line in sys.stdin:
        line = line.rstrip("\n").split(" -> ")[0]
        if not line or line.startswith("#"):
            print(line)
            continue
        answer = etcd.run(*[unquote(word) for word in line.split(" ")])
        print(f"{line} -> {answer} @{etcd.revision()}")


def unquote(word):
    return "" if word == '""' else word.replace("\\0", "\0")


def quote(text):
    return text.replace("\0", "\\0") or '""'


class Etcd:
    def __init__(self, url):
        self.url = url

    def run(self, caller, operation, *args):
        token = None
        if caller != "-":
            reply = self.post("auth/authenticate", {"name": caller, "password": PASSWORD})
            # While auth is off there are no tokens, and nobody asks for one.
            token = reply.get("token")
            if "error" in reply and "not enabled" not in reply["error"]:
                return "cannot come: " + text_of(reply)
        path, body = REQUESTS[operation](*args)
        reply = self.post(path, body, token)
        if "error" in reply:
            return text_of(reply)
        if operation == "role-get":
            return " ".join(permission(p) for p in reply.get("perm", [])) or "none"
        lists = [reply[field] for field in ("users", "roles") if field in reply]
        if operation in ("user-get", "user-list", "role-list"):
            return " ".join(lists[0]) if lists else "none"
        return "ok"

    def post(self, path, body, token=None):
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode())
        if token:
            request.add_header("Authorization", token)
        try:
            with urllib.request.urlopen(request) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def revision(self):
        with urllib.request.urlopen(f"{self.url}/metrics") as reply:
            for line in reply.read().decode().splitlines():
                if line.startswith("etcd_debugging_auth_revision "):
                    return int(float(line.split()[1]))


def text_of(reply):
    return reply["error"].removeprefix("etcdserver: ")


def b64(text):
    return base64.b64encode(text.encode()).decode()


def permission(p):
    key, end = (base64.b64decode(p.get(field, "")).decode() for field in ("key", "range_end"))
    return f"{p.get('permType', 'READ').lower()}:{quote(key)}:{quote(end)}"


def key_range(key, end):
    return {"key": b64(key), "range_end": b64(end)}


def user_add(name, *options):
    body = {"name": name, "password": PASSWORD}
    if options:
        body = {"name": name, "options": {"no_password": True}}
    return "auth/user/add", body


REQUESTS = {
    "enable": lambda: ("auth/enable", {}),
    "disable": lambda: ("auth/disable", {}),
    "user-add": user_add,
    "user-delete": lambda name: ("auth/user/delete", {"name": name}),
    "user-passwd": lambda name: ("auth/user/changepw", {"name": name, "password": PASSWORD}),
    "user-grant": lambda user, role: ("auth/user/grant", {"user": user, "role": role}),
    "user-revoke": lambda user, role: ("auth/user/revoke", {"name": user, "role": role}),
    "user-get": lambda name: ("auth/user/get", {"name": name}),
    "user-list": lambda: ("auth/user/list", {}),
    "role-add": lambda name: ("auth/role/add", {"name": name}),
    "role-delete": lambda name: ("auth/role/delete", {"role": name}),
    "role-grant": lambda role, kind, key, end: (
        "auth/role/grant",
        {"name": role, "perm": {"permType": kind.upper(), **key_range(key, end)}},
    ),
    "role-revoke": lambda role, key, end: (
        "auth/role/revoke",
        {"role": role, **key_range(key, end)},
    ),
    "role-get": lambda role: ("auth/role/get", {"role": role}),
    "role-list": lambda: ("auth/role/list", {}),
    "read": lambda key, end: ("kv/range", key_range(key, end)),
    "write": lambda key, end: ("kv/deleterange", key_range(key, end)),
}


def random_script(seed, lines):
    """A script in which auth is on most of the time and root can always come."""
    r = random.Random(seed)
    users, roles = ["root", "ann", "bob", "cid"], ["root", "r1", "r2", "r3"]
    keys = ["a", "b", "b\\0", "c", "d", "e"]
    ends = ['""', '""', "a", "b", "b\\0", "c", "d", "f", "\\0"]

    def granted():
        key = r.choice(keys)
        return key, r.choice([end for end in ends if end in ('""', "\\0") or key < end])

    choices = {
        "user-add": (5, lambda: [r.choice(users + ['""'])]),
        "user-delete": (2, lambda: [r.choice(users)]),
        "user-passwd": (1, lambda: [r.choice(users)]),
        "user-grant": (6, lambda: [r.choice(users), r.choice(roles)]),
        "user-revoke": (3, lambda: [r.choice(users), r.choice(roles)]),
        "user-get": (3, lambda: [r.choice(users)]),
        "user-list": (1, lambda: []),
        "role-add": (4, lambda: [r.choice(roles + ['""'])]),
        "role-delete": (2, lambda: [r.choice(roles)]),
        "role-grant": (12, lambda: [r.choice(roles), r.choice(["read", "write", "readwrite"]), *granted()]),
        "role-revoke": (4, lambda: [r.choice(roles), *granted()]),
        "role-get": (4, lambda: [r.choice(roles)]),
        "role-list": (1, lambda: []),
        "enable": (2, lambda: []),
        "disable": (1, lambda: []),
        "read": (20, lambda: [r.choice(keys), r.choice(ends)]),
        "write": (20, lambda: [r.choice(keys), r.choice(ends)]),
    }
    for user in users:
        yield f"- user-add {user}"
    yield "- user-grant root root"
    yield "- enable"
    for _ in range(lines):
        operation = r.choices(list(choices), [weight for weight, _ in choices.values()])[0]
        asks = operation in ("read", "write", "user-get", "role-get")
        caller = r.choice(users + ["-"]) if asks or r.random() < 0.1 else "root"
        yield " ".join([caller, operation, *choices[operation][1]()])


main()

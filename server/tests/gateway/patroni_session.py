"""Two Patroni processes elect a PostgreSQL leader through the JSON gateway, lose it and go on.

It takes a PostgreSQL (Debian: apt-get install patroni postgresql). By hand:

    python3 server/tests/gateway/patroni_session.py 127.0.0.1:2379[,HOST:PORT...] [USER:PASSWORD]

Every step is checked and said with the seconds it took; the exit code is 0 if all held. As root, it
runs PostgreSQL as the user `postgres`. With `KILL_PID` in the environment that process, a member of
the store, dies with PostgreSQL's leader.
"""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HOSTS = sys.argv[1]
LOGIN = sys.argv[2].split(":", 1) if len(sys.argv) > 2 else None
PATIENCE_S = 120
STORE_MEMBER = os.environ.get("KILL_PID")
# Patroni of 4 and later takes no less than 20.
TTL_S = 8
BEGAN = time.time()
AS_USER = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]


def say(text):
    print("%6.1f s  %s" % (time.time() - BEGAN, text), flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, folder, name):
        self.name, self.rest, self.sql = name, free_port(), free_port()
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder, 0o700)
        self.log = open(os.path.join(self.folder, "log"), "ab")
        config = {
            "scope": "session-%d" % os.getpid(),
            "name": name,
            "restapi": {"listen": "127.0.0.1:%d" % self.rest,
                        "connect_address": "127.0.0.1:%d" % self.rest},
            "etcd3": {"hosts": HOSTS.split(",")},
            "bootstrap": {
                "dcs": {"ttl": TTL_S, "loop_wait": 1, "retry_timeout": 3,
                        "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": "127.0.0.1:%d" % self.sql,
                "connect_address": "127.0.0.1:%d" % self.sql,
                "data_dir": os.path.join(self.folder, "data"),
                "bin_dir": BIN,
                "basebackup": [{"checkpoint": "fast"}],
                "pgpass": os.path.join(self.folder, "pgpass"),
                "authentication": {"superuser": {"username": "postgres", "password": "p"},
                                   "replication": {"username": "replicator", "password": "p"},
                                   "rewind": {"username": "rewinder", "password": "p"}},
                "parameters": {"unix_socket_directories": self.folder, "fsync": "off",
                               "wal_retrieve_retry_interval": "200ms"},
                "pg_hba": ["host all all 127.0.0.1/32 md5",
                           "host replication all 127.0.0.1/32 md5"],
            },
        }
        if LOGIN:
            config["etcd3"].update(username=LOGIN[0], password=LOGIN[1])
        # JSON is YAML.
        self.config = os.path.join(self.folder, "patroni.yml")
        with open(self.config, "w") as file:
            json.dump(config, file)
        if AS_USER:
            shutil.chown(self.folder, "postgres", "postgres")
            shutil.chown(self.config, "postgres", "postgres")

    def start(self):
        self.process = subprocess.Popen(["patroni", self.config], cwd=self.folder, stdout=self.log,
                                        stderr=self.log, start_new_session=True, **AS_USER)

    def kill(self):
        """As a machine dies: Patroni and its PostgreSQL at once."""
        pidfile = os.path.join(self.folder, "data", "postmaster.pid")
        try:
            with open(pidfile) as file:
                postmaster = int(file.readline())
        except (OSError, ValueError):
            postmaster = None
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if postmaster:
            try:
                os.kill(postmaster, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)

    def is_a(self, role):
        url = "http://127.0.0.1:%d/%s" % (self.rest, role)
        try:
            return urllib.request.urlopen(url, timeout=5).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def query(self, text):
        """What PostgreSQL prints, or None if it cannot now."""
        command = [os.path.join(BIN, "psql"), "-h", "127.0.0.1", "-p", str(self.sql),
                   "-U", "postgres", "-Atc", text, "postgres"]
        try:
            done = subprocess.run(command, env=dict(os.environ, PGPASSWORD="p"),
                                  capture_output=True, text=True, timeout=30)
        except subprocess.TimeoutExpired:
            return None
        return None if done.returncode else done.stdout.strip()

    def takes(self, number):
        """It leads before PostgreSQL has become one that writes."""
        written = ("create table if not exists t (n int primary key); "
                   "insert into t values (%d) on conflict do nothing" % number)
        return self.query(written) is not None

    def rows(self):
        return self.query("select string_agg(n::text, ' ' order by n) from t")


def until(what, holds):
    deadline = time.time() + PATIENCE_S
    while not holds():
        if time.time() > deadline:
            raise RuntimeError("not within %d s: %s" % (PATIENCE_S, what))
        time.sleep(0.2)
    say(what)


def elections(one, two):
    one.start()
    until("the first is elected", lambda: one.is_a("leader"))
    until("and takes a write", lambda: one.takes(1))
    two.start()
    until("the second follows it", lambda: two.is_a("replica"))
    until("and has the row", lambda: two.rows() == "1")
    one.kill()
    if STORE_MEMBER:
        os.kill(int(STORE_MEMBER), signal.SIGKILL)
    say("the leader is killed")
    until("the second has taken over", lambda: two.is_a("leader"))
    until("and takes a write", lambda: two.takes(2))
    one.start()
    until("the first comes back and follows", lambda: one.is_a("replica"))
    until("and has both rows", lambda: one.rows() == "1 2")
    two.stop()
    say("the leader is stopped in order")
    until("the first leads again", lambda: one.is_a("leader"))
    until("and takes a write", lambda: one.takes(3))


def main():
    folder = tempfile.mkdtemp(prefix="patroni-")
    os.chmod(folder, 0o755)
    nodes = [Node(folder, "one"), Node(folder, "two")]
    try:
        elections(*nodes)
        say("done")
    except Exception:
        for node in nodes:
            with open(os.path.join(node.folder, "log"), errors="replace") as log:
                print("--- %s\n%s" % (node.name, "".join(log.readlines()[-30:])))
        raise
    finally:
        for node in nodes:
            if hasattr(node, "process"):
                node.kill()
        shutil.rmtree(folder, ignore_errors=True)


main()

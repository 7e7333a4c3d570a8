"""Two Patroni processes elect a PostgreSQL leader through the JSON gateway, lose it and go on.

Run by hand, for it takes a PostgreSQL (Debian: apt-get install patroni postgresql):

    python3 server/tests/gateway/patroni_session.py 127.0.0.1:2379[,HOST:PORT...] [TOKEN-USER:PASSWORD]

Every step is checked and said with the seconds it took; the exit code is 0 if all held. As root, it
runs PostgreSQL as the user `postgres`.
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
                "dcs": {"ttl": 20, "loop_wait": 2, "retry_timeout": 5,
                        "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": "127.0.0.1:%d" % self.sql,
                "connect_address": "127.0.0.1:%d" % self.sql,
                "data_dir": os.path.join(self.folder, "data"),
                "bin_dir": BIN,
                "pgpass": os.path.join(self.folder, "pgpass"),
                "authentication": {"superuser": {"username": "postgres", "password": "p"},
                                   "replication": {"username": "replicator", "password": "p"},
                                   "rewind": {"username": "rewinder", "password": "p"}},
                "parameters": {"unix_socket_directories": self.folder, "fsync": "off"},
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
        with open(pidfile) as file:
            postmaster = int(file.readline())
        os.killpg(self.process.pid, signal.SIGKILL)
        os.kill(postmaster, signal.SIGKILL)
        self.process.wait()

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
        done = subprocess.run(
            [os.path.join(BIN, "psql"), "-h", "127.0.0.1", "-p", str(self.sql), "-U", "postgres",
             "-Atc", text, "postgres"],
            env=dict(os.environ, PGPASSWORD="p"), capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


    def takes(self, number):
        """It leads before PostgreSQL has become one that writes."""
        try:
            self.query("insert into t values (%d)" % number)
            return True
        except RuntimeError:
            return False

    def rows(self):
        try:
            return int(self.query("select count(*) from t"))
        except RuntimeError:
            return None


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
    two.start()
    until("the second follows it", lambda: two.is_a("replica"))
    one.query("create table t (n int)")
    one.query("insert into t values (1)")
    until("a row is at the second", lambda: two.rows() == 1)
    one.kill()
    say("the leader is killed")
    until("the second has taken over", lambda: two.is_a("leader"))
    until("and takes a write", lambda: two.takes(2))
    one.start()
    until("the first comes back and follows", lambda: one.is_a("replica"))
    until("it has both rows", lambda: one.rows() == 2)
    two.stop()
    say("the leader is stopped in order")
    until("the first leads again", lambda: one.is_a("leader"))


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
                node.stop()
        shutil.rmtree(folder, ignore_errors=True)


main()

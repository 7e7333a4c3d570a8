//! The `config.json` of a bundle: one container in the OCI runtime's words.

use std::path::Path;

use serde_json::{Value, json};

use super::user::User;
use crate::agent::images::Defaults;
use crate::agent::runtime::{ContainerSpec, Error, Limits, Mount, Result};

/// What a container may do unless it says otherwise: what Docker and containerd grant.
const CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
const ALL_CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Everything that the file is made of.
pub(super) struct Bundle<'a> {
    pub(super) spec: &'a ContainerSpec,
    pub(super) image: &'a Defaults,
    pub(super) user: &'a User,
    /// The process that holds the pod's namespaces; `None`: the node's network.
    pub(super) pause: Option<i32>,
}

impl Bundle<'_> {
    /// # Errors
    /// There is nothing to run.
    pub(super) fn config(&self) -> Result<Value> {
        let spec = self.spec;
        let args = self.image.command(&spec.command, &spec.args);
        if args.is_empty() {
            return Err(Error::invalid("no command: neither the image nor the pod names one"));
        }
        let privileged = spec.security.privileged;
        let hidden = |paths: &[&str]| if privileged { json!([]) } else { json!(paths) };
        Ok(json!({
            "ociVersion": "1.0.2",
            "process": self.process(&args),
            "root": { "path": "rootfs", "readonly": spec.security.read_only_root },
            "mounts": self.mounts(),
            "linux": {
                "namespaces": self.namespaces(),
                "cgroupsPath": control_group(spec),
                "resources": resources(&spec.limits, privileged),
                "maskedPaths": hidden(&MASKED),
                "readonlyPaths": hidden(&READ_ONLY),
                "rootfsPropagation": "private",
            },
        }))
    }

    fn process(&self, args: &[String]) -> Value {
        let spec = self.spec;
        let mut env = spec.variables(&self.image.env);
        if !env.iter().any(|pair| pair.starts_with("PATH=")) {
            env.push(PATH.to_owned());
        }
        if !env.iter().any(|pair| pair.starts_with("HOSTNAME=")) {
            env.push(format!("HOSTNAME={}", spec.hostname));
        }
        let given = [spec.working_dir.as_deref(), Some(self.image.working_dir.as_str())];
        let cwd = given.into_iter().flatten().find(|path| !path.is_empty()).unwrap_or("/");
        let capabilities = self.capabilities();
        // As others than root, what is bounding alone can still be gained by setuid programs.
        let effective = if self.user.uid == 0 { capabilities.clone() } else { Vec::new() };
        json!({
            "terminal": false,
            "user": {
                "uid": self.user.uid, "gid": self.user.gid, "additionalGids": self.user.groups,
            },
            "args": args,
            "env": env,
            "cwd": cwd,
            "capabilities": {
                "bounding": capabilities, "effective": effective, "permitted": effective,
            },
            "noNewPrivileges": spec.security.no_new_privileges,
        })
    }

    fn capabilities(&self) -> Vec<String> {
        let security = &self.spec.security;
        let plain = |name: &String| name.trim_start_matches("CAP_").to_uppercase();
        let has_all = |names: &[String]| names.iter().any(|name| plain(name) == "ALL");
        let mut names: Vec<String> = match security.privileged || has_all(&security.add) {
            true => ALL_CAPABILITIES.map(str::to_owned).into(),
            false if has_all(&security.drop) => Vec::new(),
            false => CAPABILITIES.map(str::to_owned).into(),
        };
        if !security.privileged {
            names.retain(|name| !security.drop.iter().any(|dropped| plain(dropped) == *name));
            names.extend(security.add.iter().map(plain).filter(|name| name != "ALL"));
        }
        names.sort();
        names.dedup();
        names.iter().map(|name| format!("CAP_{name}")).collect()
    }

    fn namespaces(&self) -> Value {
        let mut own = vec![json!({ "type": "pid" }), json!({ "type": "mount" })];
        if let Some(pid) = self.pause {
            for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
                own.push(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
            }
        }
        own.into()
    }

    fn mounts(&self) -> Value {
        let own = [
            ("/proc", "proc", vec!["nosuid", "noexec", "nodev"]),
            ("/dev", "tmpfs", vec!["nosuid", "strictatime", "mode=755", "size=65536k"]),
            (
                "/dev/pts",
                "devpts",
                vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            ("/dev/mqueue", "mqueue", vec!["nosuid", "noexec", "nodev"]),
            ("/dev/shm", "tmpfs", vec!["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ];
        let mut mounts: Vec<Value> = own
            .iter()
            .map(|(target, kind, options)| {
                json!({ "destination": target, "type": kind, "source": kind, "options": options })
            })
            .collect();
        mounts.push(self.sysfs());
        let mut given: Vec<&Mount> = self.spec.mounts.iter().collect();
        // What is mounted below another must come after it.
        given.sort_by_key(|mount| Path::new(&mount.target).components().count());
        mounts.extend(given.into_iter().map(|mount| {
            let mode = if mount.read_only { "ro" } else { "rw" };
            json!({
                "destination": mount.target, "type": "bind", "source": mount.source,
                "options": ["rbind", "rprivate", mode],
            })
        }));
        mounts.into()
    }

    /// A `sysfs` shows the network namespace of whoever mounts it, which the node's own is not ours
    /// to mount.
    fn sysfs(&self) -> Value {
        match self.pause {
            Some(_) => json!({
                "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            }),
            None => json!({
                "destination": "/sys", "type": "bind", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro", "rprivate"],
            }),
        }
    }
}

/// A path of its own for each start of a container, below the root of the control groups.
pub(super) fn control_group(spec: &ContainerSpec) -> String {
    format!("/berth/{}/{}_{}", spec.pod.uid, spec.name, spec.attempt)
}

fn resources(limits: &Limits, privileged: bool) -> Value {
    let mut cpu = json!({ "shares": limits.cpu_shares() });
    if let Some(quota) = limits.cpu_quota_us() {
        cpu["quota"] = quota.into();
        cpu["period"] = Limits::CPU_PERIOD_US.into();
    }
    let mut resources = json!({
        "devices": [{ "allow": privileged, "access": "rwm" }],
        "cpu": cpu,
    });
    if let Some(bytes) = limits.memory_bytes {
        resources["memory"] = json!({ "limit": bytes });
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::runtime::Security;

    #[test]
    fn limits_and_capabilities_are_written_as_the_runtime_reads_them() {
        // Proves quota, weight, memory, what is dropped and added, and that a command is needed.
        let spec = ContainerSpec {
            command: vec!["true".into()],
            limits: Limits {
                cpu_request_millis: Some(250),
                cpu_millis: Some(500),
                memory_bytes: Some(64 << 20),
            },
            security: Security {
                drop: vec!["ALL".into()],
                add: vec!["NET_ADMIN".into()],
                ..Security::default()
            },
            ..ContainerSpec::default()
        };
        let image = Defaults::default();
        let user = User { uid: 0, gid: 0, groups: Vec::new() };
        let bundle = Bundle { spec: &spec, image: &image, user: &user, pause: Some(7) };
        let config = bundle.config().unwrap();
        let resources = &config["linux"]["resources"];
        assert_eq!(resources["cpu"], json!({ "shares": 256, "quota": 50_000, "period": 100_000 }));
        assert_eq!(resources["memory"]["limit"], 64 << 20);
        assert_eq!(config["process"]["capabilities"]["effective"], json!(["CAP_NET_ADMIN"]));
        assert!(config["linux"]["namespaces"].to_string().contains("/proc/7/ns/net"));
        let nothing = ContainerSpec::default();
        let bundle = Bundle { spec: &nothing, ..bundle };
        assert!(bundle.config().unwrap_err().message.contains("no command"));
    }
}

//! `/etc/hosts` and `/etc/resolv.conf` of a pod's containers.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::pod::spec;
use super::runtime::Mount;
use super::{Settings, files};

/// How many dots make a name a full one, for pods.
const DOTS: &str = "options ndots:5";

/// Writes them and says where they belong. Pods in the node's network have the node's.
pub(super) fn files(
    settings: &Settings,
    directory: &Path,
    pod: &Pod,
    address: IpAddr,
) -> io::Result<Vec<Mount>> {
    std::fs::create_dir_all(directory)?;
    let mut mounts = Vec::new();
    let mut add = |name: &str, target: &str, text: String| -> io::Result<()> {
        let source = directory.join(name);
        files::replace(&source, text.as_bytes())?;
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&source, open)?;
        mounts.push(Mount { source, target: target.to_owned(), read_only: false });
        Ok(())
    };
    if !spec::is_host_network(pod) {
        add("hosts", "/etc/hosts", hosts(pod, address))?;
    }
    add("resolv.conf", "/etc/resolv.conf", resolv_conf(settings, pod))?;
    Ok(mounts)
}

fn hosts(pod: &Pod, address: IpAddr) -> String {
    let mut text = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{address}\t{}\n",
        spec::hostname(pod)
    );
    let aliases = spec::spec(pod).and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    for alias in aliases {
        let names = alias.hostnames.clone().unwrap_or_default();
        text += &format!("{}\t{}\n", alias.ip, names.join("\t"));
    }
    text
}

fn resolv_conf(settings: &Settings, pod: &Pod) -> String {
    let own = spec::spec(pod);
    let policy = own.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let is_cluster = match policy {
        "ClusterFirst" => !spec::is_host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut lines = Vec::new();
    match (settings.cluster_dns, policy) {
        (Some(server), _) if is_cluster => {
            let domain = &settings.cluster_domain;
            lines.push(format!("nameserver {server}"));
            lines.push(format!(
                "search {}.svc.{domain} svc.{domain} {domain}",
                spec::namespace(pod)
            ));
            lines.push(DOTS.to_owned());
        }
        (_, "None") => {}
        _ => lines.push(std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
    }
    if let Some(config) = own.and_then(|spec| spec.dns_config.as_ref()) {
        lines.extend(
            config.nameservers.iter().flatten().map(|server| format!("nameserver {server}")),
        );
        if let Some(searches) = config.searches.as_ref().filter(|searches| !searches.is_empty()) {
            lines.push(format!("search {}", searches.join(" ")));
        }
        for option in config.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            let value = option.value.as_ref().map(|value| format!(":{value}")).unwrap_or_default();
            lines.push(format!("options {name}{value}"));
        }
    }
    lines.join("\n") + "\n"
}

//! `/etc/hosts` and `/etc/resolv.conf` of a pod's containers.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

use super::context::Context;
use super::files;
use super::pod::spec;
use super::runtime::Mount;
use crate::discovery::dns::Zone;
use crate::resolv_conf::{self, ResolvConf};

/// How many dots make a name a full one, for pods.
const DOTS: &str = "ndots:5";
const CLUSTER_FIRST: &str = "ClusterFirst";
/// The C library asks no more.
const NAMESERVERS_MAX: usize = 3;
/// As many as Kubernetes lets a pod have.
const SEARCHES_MAX: usize = 32;

/// Writes them and says where they belong. Pods in the node's network have the node's hosts.
pub(super) fn files(
    context: &Context,
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
    // A node without one asks nobody.
    let node = ResolvConf::of_machine().unwrap_or_default();
    let server = context.nameserver.get().copied();
    let conf = resolv_conf(pod, node, server, &context.settings.cluster_domain);
    add("resolv.conf", resolv_conf::PATH, conf.to_string())?;
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

/// Whom a pod asks, by its policy. `node`: whom the node asks; `server`: who answers for names of
/// services, if anybody does.
fn resolv_conf(pod: &Pod, node: ResolvConf, server: Option<IpAddr>, domain: &Zone) -> ResolvConf {
    let own = spec::spec(pod);
    let policy = own.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or(CLUSTER_FIRST);
    let is_cluster = match policy {
        CLUSTER_FIRST => !spec::is_host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut conf = match (policy, server) {
        ("None", _) => ResolvConf::default(),
        (_, Some(server)) if is_cluster => of_cluster(pod, node, server, domain),
        (_, Some(server)) if !spec::is_host_network(pod) => reachable(node, server),
        _ => node,
    };
    if let Some(config) = own.and_then(|spec| spec.dns_config.as_ref()) {
        add(&mut conf, config);
    }
    conf.nameservers = distinct(conf.nameservers, NAMESERVERS_MAX);
    conf.searches = distinct(conf.searches, SEARCHES_MAX);
    conf
}

fn of_cluster(pod: &Pod, node: ResolvConf, server: IpAddr, domain: &Zone) -> ResolvConf {
    let namespace = spec::namespace(pod);
    let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_string()];
    ResolvConf {
        nameservers: vec![server],
        searches: own.into_iter().chain(node.searches).collect(),
        options: vec![DOTS.to_owned()],
    }
}

/// The node's, but for resolvers on its loopback, where a pod has its own: the one that asks them
/// stands in for them.
fn reachable(node: ResolvConf, server: IpAddr) -> ResolvConf {
    let stand_in = |address: IpAddr| if address.is_loopback() { server } else { address };
    let nameservers = node.nameservers.into_iter().map(stand_in).collect();
    ResolvConf { nameservers, ..node }
}

/// What the pod says itself; of an option that is there already, its own value counts.
fn add(conf: &mut ResolvConf, config: &PodDNSConfig) {
    let nameservers = config.nameservers.iter().flatten();
    conf.nameservers.extend(nameservers.filter_map(|one| one.parse::<IpAddr>().ok()));
    conf.searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let name = option.name.as_deref().unwrap_or_default();
        conf.options.retain(|there| there.split(':').next() != Some(name));
        let value = option.value.as_ref().map(|value| format!(":{value}")).unwrap_or_default();
        conf.options.push(format!("{name}{value}"));
    }
}

fn distinct<T: PartialEq>(all: Vec<T>, count_max: usize) -> Vec<T> {
    let mut distinct = Vec::new();
    for one in all {
        if distinct.len() < count_max && !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NODE: &str = "nameserver 127.0.0.53\nsearch corp.example\noptions edns0\n";

    fn pod(spec: &Value) -> Pod {
        let pod = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
        serde_json::from_value(pod).unwrap()
    }

    /// What the pod gets where services are answered for at 10.244.0.1.
    fn written(spec: &Value) -> String {
        let server = Some("10.244.0.1".parse().unwrap());
        let node = ResolvConf::parse(NODE);
        resolv_conf(&pod(spec), node, server, &Zone::cluster_local()).to_string()
    }

    const CLUSTER: &str = "nameserver 10.244.0.1\n\
        search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
        options ndots:5\n";

    #[test]
    fn policies_say_whom_a_pod_asks() {
        // Proves each policy in a network of the pod's own and in the node's, as Kubernetes has them,
        // and that a resolver on the node's loopback is not named where it cannot be reached.
        let host = |policy: &str| json!({"dnsPolicy": policy, "hostNetwork": true});
        assert_eq!(written(&json!({})), CLUSTER);
        assert_eq!(written(&json!({"dnsPolicy": "ClusterFirst"})), CLUSTER);
        assert_eq!(written(&host("ClusterFirstWithHostNet")), CLUSTER);
        assert_eq!(written(&host("ClusterFirst")), NODE);
        assert_eq!(written(&host("Default")), NODE);
        let by_the_agent = NODE.replace("127.0.0.53", "10.244.0.1");
        assert_eq!(written(&json!({"dnsPolicy": "Default"})), by_the_agent);
        assert_eq!(written(&json!({"dnsPolicy": "None"})), "");
        let node = ResolvConf::parse(NODE);
        let off = resolv_conf(&pod(&json!({})), node, None, &Zone::cluster_local());
        assert_eq!(off.to_string(), NODE, "nobody answers for services");
    }

    #[test]
    fn a_pods_own_wishes_come_after_its_policys() {
        // Proves that they are joined in one list each, without repetition, and that its options win.
        let config = json!({
            "nameservers": ["192.0.2.1", "10.244.0.1", "192.0.2.2", "192.0.2.3"],
            "searches": ["own.example", "corp.example"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
        });
        let found = ResolvConf::parse(&written(&json!({"dnsConfig": config})));
        let nameservers: Vec<String> = found.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(nameservers, ["10.244.0.1", "192.0.2.1", "192.0.2.2"]);
        assert_eq!(found.searches[3..], ["corp.example", "own.example"]);
        assert_eq!(found.options, ["ndots:2", "rotate"]);
        let none = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}});
        assert_eq!(written(&none), "nameserver 192.0.2.1\n");
    }
}

//! The variables of a container: of services, of whole ConfigMaps and Secrets, and its own.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, Pod, ResourceFieldSelector, Secret,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::expand::expand;
use super::spec;
use crate::agent::quantity;
use crate::objects::{Objects, Result as Stored};

/// ConfigMaps and Secrets that a container names, as they are now; `None`: there is none.
#[derive(Clone, Debug, Default)]
pub(in crate::agent) struct Sources {
    pub(in crate::agent) config_maps: BTreeMap<String, Option<ConfigMap>>,
    pub(in crate::agent) secrets: BTreeMap<String, Option<Secret>>,
}

/// What cannot be read from the pod.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) struct Facts<'a> {
    pub(in crate::agent) pod: &'a Pod,
    pub(in crate::agent) pod_ip: &'a str,
    pub(in crate::agent) host_ip: &'a str,
    /// What a container without limits has: the node's.
    pub(in crate::agent) node_cpu_millis: u64,
    pub(in crate::agent) node_memory_bytes: u64,
}

impl Sources {
    /// Reads what a container's variables name.
    ///
    /// # Errors
    /// The store fails.
    pub(in crate::agent) async fn read(
        objects: &Objects,
        namespace: &str,
        container: &Container,
    ) -> Stored<Self> {
        let mut sources = Self::default();
        for from in container.env_from.iter().flatten() {
            if let Some(map) = &from.config_map_ref {
                sources.add_config_map(objects, namespace, &map.name).await?;
            }
            if let Some(secret) = &from.secret_ref {
                sources.add_secret(objects, namespace, &secret.name).await?;
            }
        }
        let own =
            container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
        for from in own {
            if let Some(key) = &from.config_map_key_ref {
                sources.add_config_map(objects, namespace, &key.name).await?;
            }
            if let Some(key) = &from.secret_key_ref {
                sources.add_secret(objects, namespace, &key.name).await?;
            }
        }
        Ok(sources)
    }

    pub(in crate::agent) async fn add_config_map(
        &mut self,
        objects: &Objects,
        namespace: &str,
        name: &str,
    ) -> Stored<()> {
        if !self.config_maps.contains_key(name) {
            let found = objects.get::<ConfigMap>(Some(namespace), name).await?;
            self.config_maps.insert(name.to_owned(), found.map(|found| found.object));
        }
        Ok(())
    }

    pub(in crate::agent) async fn add_secret(
        &mut self,
        objects: &Objects,
        namespace: &str,
        name: &str,
    ) -> Stored<()> {
        if !self.secrets.contains_key(name) {
            let found = objects.get::<Secret>(Some(namespace), name).await?;
            self.secrets.insert(name.to_owned(), found.map(|found| found.object));
        }
        Ok(())
    }

    /// All entries of one; `None`: there is none.
    pub(in crate::agent) fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let map = self.config_maps.get(name)?.as_ref()?;
        let texts =
            map.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        let bytes =
            map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
        Some(texts.chain(bytes).collect())
    }

    pub(in crate::agent) fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let secret = self.secrets.get(name)?.as_ref()?;
        let bytes = secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
        let texts = secret
            .string_data
            .iter()
            .flatten()
            .map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        Some(bytes.chain(texts).collect())
    }
}

/// All variables of a container, in the order in which they were named.
///
/// # Errors
/// What was named is not there and not optional; for people.
pub(in crate::agent) fn resolve(
    container: &Container,
    services: Vec<(String, String)>,
    sources: &Sources,
    facts: Facts<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut known: BTreeMap<String, String> = services.into_iter().collect();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional, entries) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => ("configmap", &map.name, map.optional, sources.config_map(&map.name)),
            (_, Some(secret)) => {
                ("secret", &secret.name, secret.optional, sources.secret(&secret.name))
            }
            _ => continue,
        };
        match entries {
            Some(entries) => known.extend(entries.into_iter().map(|(key, value)| {
                (format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned())
            })),
            None if optional == Some(true) => {}
            None => return Err(format!("{kind} \"{name}\" not found")),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = own(variable, &known, container, sources, facts)? {
            known.insert(variable.name.clone(), value);
        }
    }
    Ok(known.into_iter().collect())
}

fn own(
    variable: &EnvVar,
    known: &BTreeMap<String, String>,
    container: &Container,
    sources: &Sources,
    facts: Facts<'_>,
) -> Result<Option<String>, String> {
    match &variable.value_from {
        Some(from) => value_from(from, container, sources, facts),
        None => {
            let text = variable.value.as_deref().unwrap_or_default();
            Ok(Some(expand(text, |name| known.get(name).map(String::as_str))))
        }
    }
}

fn value_from(
    from: &EnvVarSource,
    container: &Container,
    sources: &Sources,
    facts: Facts<'_>,
) -> Result<Option<String>, String> {
    if let Some(field) = &from.field_ref {
        return field_value(&field.field_path, facts).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return resource_value(resource, container, facts).map(Some);
    }
    let (kind, name, key, optional, entries) =
        match (&from.config_map_key_ref, &from.secret_key_ref) {
            (Some(map), _) => {
                ("configmap", &map.name, &map.key, map.optional, sources.config_map(&map.name))
            }
            (_, Some(one)) => {
                ("secret", &one.name, &one.key, one.optional, sources.secret(&one.name))
            }
            _ => return Ok(None),
        };
    let found = entries.as_ref().map(|entries| entries.get(key));
    match found {
        Some(Some(value)) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        _ if optional == Some(true) => Ok(None),
        Some(None) => Err(format!("couldn't find key {key} in {kind} \"{name}\"")),
        None => Err(format!("{kind} \"{name}\" not found")),
    }
}

/// A field of the pod, by its path.
///
/// # Errors
/// There is no such field to be had.
pub(in crate::agent) fn field_value(path: &str, facts: Facts<'_>) -> Result<String, String> {
    let pod = facts.pod;
    let metadata = &pod.metadata;
    let text = |text: Option<&str>| Ok(text.unwrap_or_default().to_owned());
    let own = spec::spec(pod);
    match path {
        "metadata.name" => text(metadata.name.as_deref()),
        "metadata.namespace" => text(metadata.namespace.as_deref()),
        "metadata.uid" => text(metadata.uid.as_deref()),
        "metadata.labels" => Ok(lines(metadata.labels.as_ref())),
        "metadata.annotations" => Ok(lines(metadata.annotations.as_ref())),
        "spec.nodeName" => text(own.and_then(|spec| spec.node_name.as_deref())),
        "spec.serviceAccountName" => {
            text(own.and_then(|spec| spec.service_account_name.as_deref()))
        }
        "status.podIP" | "status.podIPs" => text(Some(facts.pod_ip)),
        "status.hostIP" | "status.hostIPs" => text(Some(facts.host_ip)),
        _ => {
            let entry = |map: &str| {
                let key = path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")?;
                Some(key.to_owned())
            };
            let value = |map: Option<&BTreeMap<String, String>>, key: &str| {
                map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
            };
            match (entry("metadata.labels"), entry("metadata.annotations")) {
                (Some(key), _) => Ok(value(metadata.labels.as_ref(), &key)),
                (_, Some(key)) => Ok(value(metadata.annotations.as_ref(), &key)),
                _ => Err(format!("fieldPath {path:?} is not supported")),
            }
        }
    }
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let pairs = map.into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={value:?}\n")).collect()
}

/// # Errors
/// There is no such resource.
pub(in crate::agent) fn resource_value(
    selector: &ResourceFieldSelector,
    container: &Container,
    facts: Facts<'_>,
) -> Result<String, String> {
    let (list, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("resource {:?} is not supported", selector.resource))?;
    let resources = container.resources.as_ref();
    let of = |list: &str| -> Option<&Quantity> {
        let resources = resources?;
        let list = if list == "limits" { &resources.limits } else { &resources.requests };
        list.as_ref()?.get(name)
    };
    let quantity = of(list).or_else(|| (list == "requests").then(|| of("limits")).flatten());
    let divisor =
        selector.divisor.as_ref().filter(|divisor| !matches!(divisor.0.as_str(), "" | "0"));
    let (amount, divisor) = match name {
        "cpu" => (
            quantity.and_then(quantity::millis).unwrap_or(facts.node_cpu_millis),
            divisor.and_then(quantity::millis).unwrap_or(1000),
        ),
        "memory" | "ephemeral-storage" => (
            quantity.and_then(quantity::units).unwrap_or(facts.node_memory_bytes),
            divisor.and_then(quantity::units).unwrap_or(1),
        ),
        _ => return Err(format!("resource {:?} is not supported", selector.resource)),
    };
    Ok(amount.div_ceil(divisor.max(1)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_come_from_everywhere() {
        // Proves each source, the order in which they override, expansion, and what is missing.
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [{
                "name": "main", "image": "x",
                "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
                "envFrom": [{"prefix": "C_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "no", "optional": true}}],
                "env": [
                    {"name": "PLAIN", "value": "a"},
                    {"name": "REF", "value": "$(PLAIN)-$(C_k)-$(WEB_SERVICE_HOST)"},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
                    {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                    {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                ],
            }]},
        }))
        .unwrap();
        let mut sources = Sources::default();
        let map = serde_json::from_value(json!({"data": {"k": "v"}})).unwrap();
        let secret = serde_json::from_value(json!({"data": {"p": "cGFzcw=="}})).unwrap();
        sources.config_maps.insert("c".into(), Some(map));
        sources.secrets.insert("s".into(), Some(secret));
        let facts = Facts {
            pod: &pod,
            pod_ip: "10.244.0.2",
            host_ip: "10.0.0.1",
            node_cpu_millis: 2000,
            node_memory_bytes: 1 << 30,
        };
        let main = &spec::mains(&pod)[0];
        let services = vec![("WEB_SERVICE_HOST".to_owned(), "10.96.0.1".to_owned())];
        let found: BTreeMap<_, _> =
            resolve(main, services, &sources, facts).unwrap().into_iter().collect();
        let get = |name: &str| found.get(name).map(String::as_str);
        assert_eq!(get("REF"), Some("a-v-10.96.0.1"));
        assert_eq!((get("KEY"), get("NAME"), get("APP")), (Some("pass"), Some("web"), Some("web")));
        assert_eq!(
            (get("IP"), get("CPU"), get("MEM")),
            (Some("10.244.0.2"), Some("2"), Some("64"))
        );
        sources.secrets.insert("s".into(), None);
        assert_eq!(
            resolve(main, Vec::new(), &sources, facts).unwrap_err(),
            "secret \"s\" not found"
        );
    }
}

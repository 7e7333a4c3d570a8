//! What is in the files of a volume: of ConfigMaps, Secrets and the pod itself.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use crate::agent::pod::env::{Facts, Sources, field_value, resource_value};
use crate::agent::pod::spec;

const MODE: u32 = 0o644;

/// A file: what is in it, and its mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Files by their path in the volume.
pub(super) type Files = BTreeMap<String, Content>;

/// ConfigMaps and Secrets that volumes name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Wanted {
    pub(in crate::agent) config_maps: BTreeSet<String>,
    pub(in crate::agent) secrets: BTreeSet<String>,
}

pub(in crate::agent) fn wanted(pod: &Pod) -> Wanted {
    let mut wanted = Wanted::default();
    let volumes = spec::spec(pod).and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    for volume in volumes {
        wanted.config_maps.extend(volume.config_map.as_ref().map(|map| map.name.clone()));
        let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.clone());
        wanted.secrets.extend(secret);
        let parts =
            volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for part in parts {
            wanted.config_maps.extend(part.config_map.as_ref().map(|map| map.name.clone()));
            wanted.secrets.extend(part.secret.as_ref().map(|secret| secret.name.clone()));
        }
    }
    wanted
}

pub(super) fn files(volume: &Volume, facts: Facts<'_>, sources: &Sources) -> Result<Files, String> {
    if let Some(map) = &volume.config_map {
        let entries = Entries::of("configmap", &map.name, sources.config_map(&map.name));
        return entries.files(map.items.as_deref(), mode(map.default_mode), map.optional);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.clone().unwrap_or_default();
        let entries = Entries::of("secret", &name, sources.secret(&name));
        return entries.files(secret.items.as_deref(), mode(secret.default_mode), secret.optional);
    }
    if let Some(own) = &volume.downward_api {
        return downward(own.items.as_deref(), mode(own.default_mode), facts);
    }
    if let Some(projected) = &volume.projected {
        let mode = mode(projected.default_mode);
        let mut files = Files::new();
        for part in projected.sources.iter().flatten() {
            files.extend(project(part, mode, facts, sources)?);
        }
        return Ok(files);
    }
    Err("only emptyDir, hostPath, configMap, secret, downwardAPI and projected are supported"
        .into())
}

fn project(
    part: &VolumeProjection,
    mode: u32,
    facts: Facts<'_>,
    sources: &Sources,
) -> Result<Files, String> {
    if let Some(map) = &part.config_map {
        let entries = Entries::of("configmap", &map.name, sources.config_map(&map.name));
        return entries.files(map.items.as_deref(), mode, map.optional);
    }
    if let Some(secret) = &part.secret {
        let entries = Entries::of("secret", &secret.name, sources.secret(&secret.name));
        return entries.files(secret.items.as_deref(), mode, secret.optional);
    }
    match &part.downward_api {
        Some(own) => downward(own.items.as_deref(), mode, facts),
        None => {
            Err("of projected sources only configMap, secret and downwardAPI are supported".into())
        }
    }
}

fn mode(given: Option<i32>) -> u32 {
    given.and_then(|mode| u32::try_from(mode).ok()).map_or(MODE, |mode| mode & 0o777)
}

struct Entries<'a> {
    kind: &'static str,
    name: &'a str,
    entries: Option<BTreeMap<String, Vec<u8>>>,
}

impl<'a> Entries<'a> {
    fn of(kind: &'static str, name: &'a str, entries: Option<BTreeMap<String, Vec<u8>>>) -> Self {
        Self { kind, name, entries }
    }

    fn files(
        self,
        items: Option<&[KeyToPath]>,
        default: u32,
        optional: Option<bool>,
    ) -> Result<Files, String> {
        let is_optional = optional == Some(true);
        let Some(mut entries) = self.entries else {
            return if is_optional {
                Ok(Files::new())
            } else {
                Err(format!("{} \"{}\" not found", self.kind, self.name))
            };
        };
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            let all = entries.into_iter();
            return Ok(all.map(|(key, bytes)| (key, Content { bytes, mode: default })).collect());
        };
        let mut files = Files::new();
        for item in items {
            match entries.remove(&item.key) {
                Some(bytes) => {
                    let mode = item.mode.map_or(default, |mode_| mode(Some(mode_)));
                    files.insert(item.path.clone(), Content { bytes, mode });
                }
                None if is_optional => {}
                None => {
                    return Err(format!(
                        "{} \"{}\" has no key {:?}",
                        self.kind, self.name, item.key
                    ));
                }
            }
        }
        Ok(files)
    }
}

fn downward(
    items: Option<&[DownwardAPIVolumeFile]>,
    default: u32,
    facts: Facts<'_>,
) -> Result<Files, String> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_value(&field.field_path, facts)?,
            (_, Some(resource)) => {
                let name = resource.container_name.as_deref().unwrap_or_default();
                let container = spec::container(facts.pod, name)
                    .ok_or_else(|| format!("the pod has no container {name:?}"))?;
                resource_value(resource, container, facts)?
            }
            _ => continue,
        };
        let mode = item.mode.map_or(default, |given| mode(Some(given)));
        files.insert(item.path.clone(), Content { bytes: text.into_bytes(), mode });
    }
    Ok(files)
}

//! Addresses of Services and their ports on the nodes: chosen when they are not named, and claimed
//! in the same transaction that stores the Service.

use std::net::Ipv4Addr;

use api::etcdserverpb::RangeRequest;
use rand::Rng;
use serde_json::{Value, json};

use super::ApiServer;
use super::status::{Failure, FieldError, Result};
use crate::kv;
use crate::objects::{Beside, Error, claims, kinds};

const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;
/// Addresses of the network, without its first and its last.
const OFFSETS: std::ops::RangeInclusive<u32> = 1..=65_534;
/// How many random choices may be taken already.
const CHOICES_MAX: u32 = 64;

impl ApiServer {
    /// Gives a Service what it needs, and adds to `beside` the claims that are new and the end of
    /// those that are not needed any more. `before`: the Service as it is stored.
    pub(super) async fn claim_addresses(
        &self,
        value: &mut Value,
        before: Option<&Value>,
        beside: &mut Beside,
    ) -> Result<()> {
        let Some(resource) = kinds::by_plural("services") else { return Ok(()) };
        if !value["spec"].is_object() {
            return Ok(());
        }
        let held = before.map(|before| claims::of(resource, before)).unwrap_or_default();
        self.choose_address(value, &held).await?;
        self.choose_ports(value, &held).await?;
        let name =
            |value: &Value| value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let owner = format!(
            "{}/{}",
            value["metadata"]["namespace"].as_str().unwrap_or_default(),
            name(value)
        );
        let needed = claims::of(resource, value);
        for key in needed.iter().filter(|key| !held.contains(key)) {
            beside.compare.push(kv::is_absent(key.clone()));
            beside.write.push(kv::put(key.clone(), owner.clone(), 0));
        }
        for key in held.iter().filter(|key| !needed.contains(key)) {
            beside.write.push(kv::delete(key.clone()));
        }
        Ok(())
    }

    async fn choose_address(&self, value: &mut Value, held: &[String]) -> Result<()> {
        let spec = &mut value["spec"];
        if spec["type"] == "ExternalName" {
            if let Some(spec) = spec.as_object_mut() {
                spec.shift_remove("clusterIP");
                spec.shift_remove("clusterIPs");
            }
            return Ok(());
        }
        let named = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        let address = match named.as_str() {
            "None" => named,
            "" => self.free_address().await?,
            _ => {
                self.check_address(value, &named, held).await?;
                named
            }
        };
        value["spec"]["clusterIPs"] = json!([address]);
        value["spec"]["clusterIP"] = address.into();
        Ok(())
    }

    async fn check_address(&self, value: &Value, address: &str, held: &[String]) -> Result<()> {
        let network = self.settings().service_network.octets();
        let is_ours = |address: Ipv4Addr| address.octets()[..2] == network[..2];
        if !address.parse::<Ipv4Addr>().is_ok_and(is_ours) {
            let why = format!(
                "failed to allocate IP: the provided IP is not in the valid range {}/16",
                self.settings().service_network
            );
            return Err(invalid(value, "spec.clusterIPs", &address.into(), &why));
        }
        let key = claims::service_address(address);
        if !held.contains(&key) && self.is_claimed(&key).await? {
            let why = "failed to allocate IP: provided IP is already allocated";
            return Err(invalid(value, "spec.clusterIPs", &address.into(), why));
        }
        Ok(())
    }

    async fn free_address(&self) -> Result<String> {
        let network = u32::from(self.settings().service_network);
        for _ in 0..CHOICES_MAX {
            let offset = rand::rng().random_range(OFFSETS);
            let address = Ipv4Addr::from(network.wrapping_add(offset)).to_string();
            if !self.is_claimed(&claims::service_address(&address)).await? {
                return Ok(address);
            }
        }
        Err(Failure::internal("no address for the Service was found: the network is full"))
    }

    async fn choose_ports(&self, value: &mut Value, held: &[String]) -> Result<()> {
        let is_on_nodes =
            matches!(value["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer"));
        let count = value["spec"]["ports"].as_array().map_or(0, Vec::len);
        let mut own: Vec<i64> = Vec::new();
        for at in 0..count {
            let named = value["spec"]["ports"][at]["nodePort"].as_i64().unwrap_or(0);
            let port = match (is_on_nodes, named) {
                (false, _) => 0,
                (true, 0) => self.free_port(&own).await?,
                (true, named) => {
                    if !own.contains(&named) {
                        self.check_port(value, at, named, held).await?;
                    }
                    named
                }
            };
            let Some(entry) = value["spec"]["ports"][at].as_object_mut() else { continue };
            if port == 0 {
                entry.shift_remove("nodePort");
            } else {
                entry.insert("nodePort".into(), port.into());
                own.push(port);
            }
        }
        Ok(())
    }

    async fn check_port(&self, value: &Value, at: usize, port: i64, held: &[String]) -> Result<()> {
        let path = format!("spec.ports[{at}].nodePort");
        if !NODE_PORTS.contains(&port) {
            let why = "provided port is not in the valid range. The range of valid ports is \
                       30000-32767";
            return Err(invalid(value, &path, &port.into(), why));
        }
        let key = claims::node_port(port);
        if !held.contains(&key) && self.is_claimed(&key).await? {
            let why = "provided port is already allocated";
            return Err(invalid(value, &path, &port.into(), why));
        }
        Ok(())
    }

    async fn free_port(&self, own: &[i64]) -> Result<i64> {
        for _ in 0..CHOICES_MAX {
            let port = rand::rng().random_range(NODE_PORTS);
            if !own.contains(&port) && !self.is_claimed(&claims::node_port(port)).await? {
                return Ok(port);
            }
        }
        Err(Failure::internal("no port on the nodes was found: nearly all are taken"))
    }

    async fn is_claimed(&self, key: &str) -> Result<bool> {
        let key = key.to_owned().into();
        let request = RangeRequest { key, count_only: true, ..RangeRequest::default() };
        let answer = self.objects().store().range(request).await;
        let failed = |error: kv::Error| match kinds::by_plural("services") {
            Some(resource) => Failure::of(Error::from(error), resource, ""),
            None => Failure::internal(error.message),
        };
        Ok(answer.map_err(failed)?.count > 0)
    }
}

fn invalid(value: &Value, path: &str, wrong: &Value, why: &str) -> Failure {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    match kinds::by_plural("services") {
        Some(resource) => {
            Failure::invalid(resource, name, &[FieldError::invalid(path, wrong, why)])
        }
        None => Failure::bad_request(why),
    }
}

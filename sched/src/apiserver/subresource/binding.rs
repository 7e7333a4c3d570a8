//! Binding a pod to a node by hand, or by a scheduler that is a client of this API.

use api::etcdserverpb::RangeRequest;
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use serde_json::json;

use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, Call, body, respond};
use crate::kv;
use crate::objects::{Beside, Error, Objects, clock, notes};

impl ApiServer {
    pub(super) async fn bind(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let binding = body::document(&call.media_type, &call.body)?;
        let node = binding["target"]["name"].as_str().unwrap_or_default();
        if node.is_empty() {
            return Err(Failure::bad_request("target.name: Required value: the name of a node"));
        }
        let failed = |error| Failure::of(error, target.resource, target.name());
        let objects = self.objects();
        let pod = objects.get::<Pod>(target.namespace(), target.name()).await.map_err(failed)?;
        let pod = pod.ok_or_else(|| Failure::not_found(target.resource, target.name()))?;
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if let Some(bound) = bound.filter(|bound| !bound.is_empty()) {
            let why = format!("pod {} is already assigned to node \"{bound}\"", target.name());
            return Err(Failure::conflict(target.resource, target.name(), &why));
        }
        let found = objects.get::<Node>(None, node).await.map_err(failed)?;
        let found = found.ok_or_else(|| Failure::bad_request(format!("no node \"{node}\"")))?;
        if !call.query.is_dry_run()? {
            let mut beside = self.touch_allocation(node).await.map_err(failed)?;
            let key = Objects::key::<Node>(None, node);
            beside.compare.push(kv::unchanged_since(key, found.revision));
            objects.update_with(&pod, |pod| assign(pod, node), &beside).await.map_err(failed)?;
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        });
        Ok(respond::json(StatusCode::CREATED, &status))
    }

    /// Tells schedulers that are placing pods on this node at this moment to look again.
    pub(in super::super) async fn touch_allocation(
        &self,
        node: &str,
    ) -> std::result::Result<Beside, Error> {
        let key = notes::allocation(node);
        let get = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
        let found = self.objects().store().range(get).await?.kvs.into_iter().next();
        let mut beside = Beside::default();
        match found {
            Some(kv) => {
                beside.compare.push(kv::unchanged_since(key.clone(), kv.mod_revision));
                beside.write.push(kv::put(key, kv.value, 0));
            }
            None => {
                beside.compare.push(kv::is_absent(key.clone()));
                beside.write.push(kv::put(key, "{}", 0));
            }
        }
        Ok(beside)
    }
}

fn assign(pod: &mut Pod, node: &str) {
    pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
    let conditions = &mut pod.status.get_or_insert_default().conditions;
    let conditions = conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(clock::time()),
        ..PodCondition::default()
    });
}

//! What is there from the beginning.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::kv::Pause;
use crate::objects::{ErrorKind, Objects};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-node-lease", "kube-public"];

pub(super) async fn make_namespaces(objects: &Objects) {
    for name in NAMESPACES {
        let mut pause = Pause::default();
        while let Err(reason) = make(objects, name).await {
            if pause.failures() == 1 {
                tracing::warn!(namespace = name, "cannot be made yet: {reason}");
            }
            pause.wait().await;
        }
    }
}

async fn make(objects: &Objects, name: &str) -> Result<(), crate::objects::Error> {
    if objects.get::<Namespace>(None, name).await?.is_some() {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    match objects.create(&Namespace { metadata, ..Namespace::default() }).await {
        Err(error) if error.kind != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

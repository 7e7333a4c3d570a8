//! The kinds that controllers know in their own form, said once.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Pod, ReplicationController, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::id::Id;
use crate::objects::{Document, Error, ErrorKind, Kind, Objects, Result, Stored};

/// A kind that [`Known`] has.
pub(crate) trait Typed: Kind {
    const PLURAL: &'static str;

    fn of(known: &Known) -> Option<&Arc<Stored<Self>>>;
}

macro_rules! objects {
    ($($kind:ident, $plural:literal;)*) => {
        /// An object as a planner wants it.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Object {
            $($kind(Box<$kind>),)*
        }

        /// An object as it was read.
        #[derive(Clone, Debug)]
        pub(crate) enum Known {
            $($kind(Arc<Stored<$kind>>),)*
        }

        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Box::new(object))
            }
        }

        impl From<&$kind> for Object {
            fn from(object: &$kind) -> Self {
                Self::$kind(Box::new(object.clone()))
            }
        }

        impl Typed for $kind {
            const PLURAL: &'static str = $plural;

            fn of(known: &Known) -> Option<&Arc<Stored<Self>>> {
                match known {
                    Known::$kind(object) => Some(object),
                    _ => None,
                }
            }
        })*

        impl Object {
            pub(crate) fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => &object.metadata,)*
                }
            }

            pub(crate) fn id(&self) -> Id {
                let resource = match self {
                    $(Self::$kind(_) => $plural,)*
                };
                let meta = self.metadata();
                let namespace = meta.namespace.clone().unwrap_or_default();
                Id::new(resource, namespace, meta.name.clone().unwrap_or_default())
            }

            /// Stores it as a new one and returns its revision.
            pub(crate) async fn create(&self, objects: &Objects) -> Result<i64> {
                match self {
                    $(Self::$kind(object) => {
                        objects.create(object.as_ref()).await.map(|stored| stored.revision)
                    })*
                }
            }
        }

        impl Known {
            /// `None`: a kind that is not known in its own form.
            pub(crate) fn read(resource: &str, document: Document) -> Option<Result<Self>> {
                match resource {
                    $($plural => {
                        Some(Stored::new(document).map(|stored| Self::$kind(Arc::new(stored))))
                    })*
                    _ => None,
                }
            }

            pub(crate) fn revision(&self) -> i64 {
                match self {
                    $(Self::$kind(object) => object.revision,)*
                }
            }

            /// Puts `after` in its place, if it still is what was read; returns the revision.
            pub(crate) async fn update(&self, objects: &Objects, after: Object) -> Result<i64> {
                match (self, after) {
                    $((Self::$kind(before), Object::$kind(after)) => {
                        objects.update(before, |object| *object = *after).await
                            .map(|stored| stored.revision)
                    })*
                    _ => Err(Error::new(ErrorKind::Invalid, "an object became one of another kind")),
                }
            }
        }
    };
}

objects! {
    CronJob, "cronjobs";
    DaemonSet, "daemonsets";
    Deployment, "deployments";
    Endpoints, "endpoints";
    EndpointSlice, "endpointslices";
    Job, "jobs";
    Namespace, "namespaces";
    Node, "nodes";
    Pod, "pods";
    PodDisruptionBudget, "poddisruptionbudgets";
    ReplicaSet, "replicasets";
    ReplicationController, "replicationcontrollers";
    Service, "services";
}

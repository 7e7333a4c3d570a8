//! What each address serves, put together from the gRPC services and the HTTP endpoints.

use axum::Router;

use super::end_streams::EndStreams;
use super::front::Front;
use super::listen::Roles;
use super::member::NodeProbe;
use crate::config::Settings;
use crate::gateway::{self, Cors};
use crate::grpc::Unary;
use crate::http::{self, GrpcLayer, Metrics};
use crate::traces::Traces;
use crate::{grpc, v2};

pub(super) struct Services {
    grpc: Router,
    /// `None`: the router answers every call.
    unary: Option<Unary>,
    http: Router,
    operator: Router,
    peer: Router,
    cors: Cors,
}

impl Services {
    pub(super) fn new(
        settings: &Settings,
        context: &grpc::Context,
        metrics: &Metrics,
        notices: &v2::Notices,
        ending: EndStreams,
        messages: Router,
        traces: Option<&Traces>,
    ) -> Self {
        let probe = NodeProbe::new(context.node().clone());
        let node = context.node().clone();
        let members = move || node.members();
        let mut http = http::routes(probe.clone(), metrics.clone());
        if settings.enable_v2 {
            http = http.merge(v2::routes(context, notices, &ending.stopping));
        }
        let counted = GrpcLayer::new(metrics, settings.slow_request);
        // Traced calls pass the layers, all of them.
        let unary = traces.is_none().then(|| Unary::new(context, counted.clone()));
        let mut grpc = grpc::routes(context).layer(ending).layer(counted);
        if let Some(traces) = traces {
            grpc = grpc.layer(traces.layer());
        }
        if settings.profile {
            http = http.merge(http::profile_routes());
        }
        if settings.gateway {
            http = http.merge(gateway::routes(context, grpc.clone()));
        }
        Self {
            grpc,
            unary,
            http,
            operator: http::operator_routes(probe, metrics.clone()),
            peer: http::peer_routes(context.node().cluster_id(), members).merge(messages),
            cors: Cors::new(&settings.cors),
        }
    }

    pub(super) fn front(&self, roles: Roles) -> Front {
        let mut routes = Router::new();
        if roles.grpc {
            routes = routes.merge(self.grpc.clone());
        }
        if roles.http {
            routes = routes.merge(self.http.clone());
        } else if roles.metrics {
            routes = routes.merge(self.operator.clone());
        }
        if roles.peer {
            routes = routes.merge(self.peer.clone());
        }
        // The client endpoints have /version already.
        if roles.peer && !roles.http {
            routes = routes.merge(http::version_route());
        }
        let routes = routes.fallback(http::unknown_path);
        let router = if roles.http { self.cors.around(routes) } else { routes };
        Front { router, unary: self.unary.clone().filter(|_| roles.grpc) }
    }
}

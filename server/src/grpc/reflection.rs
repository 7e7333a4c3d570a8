//! gRPC server reflection: tools like `grpcurl` learn the services from the server.
//!
//! What it tells is in the `.proto` files; nothing of it is anybody's data.

use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::ServerReflectionServer as V1;
use tonic_reflection::server::v1alpha::ServerReflectionServer as V1Alpha;

/// What clients may call; the protocol between members is not listed.
const SERVICES: [&str; 8] = [
    "etcdserverpb.Auth",
    "etcdserverpb.Cluster",
    "etcdserverpb.KV",
    "etcdserverpb.Lease",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Watch",
    "v3electionpb.Election",
    "v3lockpb.Lock",
];

/// The service, in both versions that tools ask for.
pub(super) fn services() -> (
    V1<impl tonic_reflection::server::v1::ServerReflection>,
    V1Alpha<impl tonic_reflection::server::v1alpha::ServerReflection>,
) {
    let v1 = builder().build_v1();
    let v1alpha = builder().build_v1alpha();
    (v1.expect(COMPILED_IN), v1alpha.expect(COMPILED_IN))
}

const COMPILED_IN: &str = "the descriptors are those that the services were generated from";

fn builder() -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(api::DESCRIPTORS)
        .include_reflection_service(false);
    SERVICES.into_iter().fold(builder, Builder::with_service_name)
}

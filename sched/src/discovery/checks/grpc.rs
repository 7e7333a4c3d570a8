//! The standard health service (`grpc.health.v1`) says SERVING.

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub(super) async fn ask(endpoint: &str, service: &str) -> Result<(), String> {
    let channel = Endpoint::from_shared(format!("http://{endpoint}"))
        .map_err(|error| error.to_string())?
        .connect()
        .await
        .map_err(|error| root(&error))?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    let answer = answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(other.as_str_name().to_owned()),
    }
}

/// The innermost cause: "connection refused" rather than "transport error".
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

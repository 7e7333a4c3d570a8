//! Metrics of a command that runs beside the store, by HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves what `render` says at `/metrics`, for as long as the runtime lives.
///
/// # Errors
/// One line: the address cannot be listened on.
pub(super) async fn serve(
    address: SocketAddr,
    render: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Result<(), String> {
    let answer = move || {
        let text = render();
        async move { ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text) }
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let router = Router::new().route("/metrics", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

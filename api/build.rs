//! Generates the wire types from `proto/` with protox, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "etcd/rpc.proto",
        "etcd/lease.proto",
        "etcd/lock.proto",
        "etcd/election.proto",
        "berth/log.proto",
        "berth/v2.proto",
        "berth/wire.proto",
        "berth/peer.proto",
    ];
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(files)?;
    // Encoded by the compiler: its typed form drops the options that hold the HTTP paths.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().bytes(".").compile_fds(compiler.file_descriptor_set())?;
    encoded_watch_service();
    Ok(())
}

/// The Watch service once more, for the server alone: it answers with events that are already
/// encoded and shared between watchers, as is the header. Its name is what clients put into the path, so it cannot
/// be another one; the generated file has a name of its own.
fn encoded_watch_service() {
    let watch = tonic_build::manual::Method::builder()
        .name("watch")
        .route_name("Watch")
        .input_type("crate::etcdserverpb::WatchRequest")
        .output_type("crate::Headed<crate::berthpb::EncodedWatchResponse>")
        .codec_path("tonic_prost::ProstCodec")
        .client_streaming()
        .server_streaming()
        .build();
    let service = tonic_build::manual::Service::builder()
        .name("Watch")
        .package("etcdserverpb")
        .method(watch)
        .build();
    tonic_build::manual::Builder::new().build_client(false).compile(&[service]);
}

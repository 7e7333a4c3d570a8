//! What tools learn of a server without its `.proto` files.

use prost::Message;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::FileDescriptorProto;
use testkit::{Kind, Server, bounded, subject};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Proves that a server says that it serves, lists etcd's services, and describes their methods down
/// to the fields, as grpcurl asks for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_describes_itself() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        // It has no reflection.
        return;
    }
    let server = Server::start(program, &[]).await;
    let channel = Endpoint::from_shared(server.endpoint()).unwrap().connect_lazy();
    let asked = HealthCheckRequest { service: String::new() };
    let health = bounded(HealthClient::new(channel.clone()).check(asked)).await.unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);

    let ask = async |request: MessageRequest| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut client = ServerReflectionClient::new(channel.clone());
        let answers = client.server_reflection_info(tokio_stream::once(request));
        let mut answers = bounded(answers).await.unwrap().into_inner();
        bounded(answers.message()).await.unwrap().unwrap().message_response.unwrap()
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth"] {
        assert!(names.contains(&format!("etcdserverpb.{name}").as_str()), "{names:?}");
    }
    for name in ["v3lockpb.Lock", "v3electionpb.Election"] {
        assert!(names.contains(&name), "{names:?}");
    }

    let mut pool = DescriptorPool::new();
    let mut wanted = vec![MessageRequest::FileContainingSymbol("etcdserverpb.KV".to_owned())];
    let mut files = Vec::new();
    while let Some(request) = wanted.pop() {
        let found = ask(request).await;
        let MessageResponse::FileDescriptorResponse(found) = found else { panic!("{found:?}") };
        for bytes in found.file_descriptor_proto {
            let file = FileDescriptorProto::decode(bytes.as_slice()).unwrap();
            if files.iter().all(|known: &FileDescriptorProto| known.name != file.name) {
                let names = file.dependency.iter().cloned();
                wanted.extend(names.map(MessageRequest::FileByFilename));
                files.push(file);
            }
        }
    }
    pool.add_file_descriptor_protos(files).unwrap();
    let service = pool.get_service_by_name("etcdserverpb.KV").unwrap();
    let put = service.methods().find(|method| method.name() == "Put").unwrap();
    assert_eq!(put.input().get_field_by_name("key").unwrap().number(), 1);
}

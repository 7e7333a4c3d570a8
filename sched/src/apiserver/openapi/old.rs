//! OpenAPI v2. kubectl before 1.27 wants it as protobuf, to find out whether a kind can be tried
//! (`dryRun`) before it makes a `diff`. It would also check documents and make patches by the
//! definitions; there are none, so it leaves the one to the server and makes the other by its own
//! types.

use http::{HeaderMap, Response, StatusCode, header};
use prost::Message;
use serde_json::{Value, json};

use super::super::{Body, discovery, respond};
use super::operations::{self, Method, Operation};

/// Clients ask with `@`, which Go refuses to read in an answer.
const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What is in both.
const PROTOBUF: &str = "com.github.proto-openapi.spec.v2";

/// The document as JSON, or as the protobuf that is asked for by its name.
pub(in super::super) fn answer(headers: &HeaderMap) -> Response<Body> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    // The first form named that can be had.
    let first = accept.unwrap_or_default().split(',').find_map(|choice| {
        let is_json = ["application/json", "application/*", "*/*"]
            .contains(&choice.split(';').next().unwrap_or_default().trim());
        (is_json || choice.contains(PROTOBUF)).then(|| choice.contains(PROTOBUF))
    });
    if first == Some(true) {
        respond::bytes(StatusCode::OK, MEDIA_TYPE, document().encode_to_vec())
    } else {
        respond::json(StatusCode::OK, &json())
    }
}

fn all() -> Vec<Operation> {
    let versions = discovery::group_versions();
    versions.into_iter().flat_map(|(group, version)| operations::of(group, version)).collect()
}

fn json() -> Value {
    let query =
        |name: &str| json!({"name": name, "in": "query", "type": "string", "uniqueItems": true});
    json!({
        "swagger": "2.0", "info": super::info(), "paths": super::paths(&all(), query),
        "definitions": {},
    })
}

fn document() -> Document {
    let mut paths: Vec<NamedPathItem> = Vec::new();
    for operation in all() {
        // Those of one path follow one another.
        if paths.last().is_none_or(|path| path.name != operation.path) {
            let value = Some(PathItem::default());
            paths.push(NamedPathItem { name: operation.path.clone(), value });
        }
        let Some(item) = paths.last_mut().and_then(|path| path.value.as_mut()) else { continue };
        let place = match operation.method {
            Method::Get => &mut item.get,
            Method::Put => &mut item.put,
            Method::Post => &mut item.post,
            Method::Patch => &mut item.patch,
        };
        *place = Some(told(&operation));
    }
    Document {
        swagger: "2.0".to_owned(),
        info: Some(Info { title: "Kubernetes".to_owned(), version: crate::VERSION.to_owned() }),
        paths: Some(Paths { path: paths }),
        definitions: Some(Definitions {}),
    }
}

fn told(operation: &Operation) -> ToldOperation {
    let names: &[&str] =
        if operation.method == Method::Get { &[] } else { &operations::PARAMETERS };
    let parameters = names.iter().map(|&name| query(name)).collect();
    let extension =
        |name: &str, yaml: String| NamedAny { name: name.to_owned(), value: Some(Any { yaml }) };
    let response = Response200 { description: "OK".to_owned() };
    let response = ResponseValue { response: Some(response) };
    let response = NamedResponseValue { name: "200".to_owned(), value: Some(response) };
    ToldOperation {
        operation_id: operation.id.clone(),
        parameters,
        responses: Some(Responses { response_code: vec![response] }),
        // JSON is YAML.
        vendor_extension: vec![
            extension("x-kubernetes-action", operation.method.name().to_owned()),
            extension("x-kubernetes-group-version-kind", operation.kind().to_string()),
        ],
    }
}

fn query(name: &str) -> ParametersItem {
    let query = QueryParameter {
        r#in: "query".to_owned(),
        name: name.to_owned(),
        r#type: "string".to_owned(),
        unique_items: true,
    };
    let parameter = NonBodyParameter { query: Some(query) };
    ParametersItem { parameter: Some(Parameter { non_body: Some(parameter) }) }
}

// Of the messages of gnostic's `OpenAPIv2.proto` the fields that are filled, by their numbers there.

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Definitions>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Definitions {}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPathItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct PathItem {
    #[prost(message, optional, tag = "2")]
    get: Option<ToldOperation>,
    #[prost(message, optional, tag = "3")]
    put: Option<ToldOperation>,
    #[prost(message, optional, tag = "4")]
    post: Option<ToldOperation>,
    #[prost(message, optional, tag = "8")]
    patch: Option<ToldOperation>,
}

#[derive(Clone, PartialEq, Message)]
struct ToldOperation {
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, optional, tag = "9")]
    responses: Option<Responses>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(message, optional, tag = "2")]
    non_body: Option<NonBodyParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBodyParameter {
    #[prost(message, optional, tag = "3")]
    query: Option<QueryParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryParameter {
    #[prost(string, tag = "2")]
    r#in: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    r#type: String,
    #[prost(bool, tag = "20")]
    unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Responses {
    #[prost(message, repeated, tag = "1")]
    response_code: Vec<NamedResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedResponseValue {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseValue {
    #[prost(message, optional, tag = "1")]
    response: Option<Response200>,
}

#[derive(Clone, PartialEq, Message)]
struct Response200 {
    #[prost(string, tag = "1")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        // Proves that JSON and protobuf have the same paths, and that each patch, of aliases too,
        // says in both that it can be tried.
        let json = json();
        let read = Document::decode(document().encode_to_vec().as_slice()).unwrap();
        let paths = read.paths.unwrap().path;
        assert_eq!(paths.len(), json["paths"].as_object().unwrap().len());
        let mut patches = 0;
        for NamedPathItem { name, value } in paths {
            let Some(patch) = value.unwrap().patch else { continue };
            let told = &json["paths"][&name]["patch"];
            let kind = patch.vendor_extension.iter().find(|one| one.name.ends_with("-kind"));
            let kind: Value =
                serde_json::from_str(&kind.unwrap().value.as_ref().unwrap().yaml).unwrap();
            assert_eq!(kind, told["x-kubernetes-group-version-kind"], "{name}");
            assert_eq!(patch.parameters[0], query("dryRun"), "{name}");
            assert_eq!(told["parameters"][0]["name"], "dryRun", "{name}");
            patches += 1;
        }
        let served = |resource: &crate::objects::kinds::Resource| 1 + resource.aliases.len();
        assert_eq!(patches, crate::objects::kinds::ALL.iter().map(served).sum::<usize>());
        let old = "/apis/extensions/v1beta1/namespaces/{namespace}/deployments/{name}";
        assert!(json["paths"][old]["patch"].is_object());
    }

    #[test]
    fn the_form_is_chosen_by_the_client() {
        // Proves that who asks for protobuf gets it, first or among others, and that anybody else
        // gets JSON.
        let asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        for (accept, expected) in [
            (Some(asked.to_owned()), MEDIA_TYPE),
            (Some(format!("{asked},application/json")), MEDIA_TYPE),
            (Some(format!("application/json, {asked}")), "application/json"),
            (Some("*/*".to_owned()), "application/json"),
            (Some("text/html".to_owned()), "application/json"),
            (None, "application/json"),
        ] {
            let accept = accept.map(|accept| (header::ACCEPT, accept.parse().unwrap()));
            let answer = answer(&accept.into_iter().collect());
            assert_eq!(answer.headers()[header::CONTENT_TYPE], expected);
        }
    }
}

//! Which path is which method, and what its messages look like: read off the descriptors.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use prost_reflect::prost_types::{DescriptorProto, FileDescriptorSet};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};

/// The option of a method that holds its path.
const HTTP_RULE: &str = "google.api.http";
/// Why nothing here fails: the descriptors are made with the program.
const COMPILED_IN: &str = "the descriptors are those that the services were generated from";

/// A method of a gRPC service.
#[derive(Debug)]
pub(super) struct Method {
    /// `/package.Service/Method`.
    pub(super) grpc_path: String,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// The request is a stream.
    pub(super) many_requests: bool,
    /// The answer is a stream.
    pub(super) many_answers: bool,
}

pub(super) struct Table(BTreeMap<String, Arc<Method>>);

impl Table {
    pub(super) fn new() -> Self {
        let rules = DescriptorPool::decode(api::DESCRIPTORS).expect(COMPILED_IN);
        let types = types();
        let mut paths = BTreeMap::new();
        for method in rules.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let entry = Arc::new(Method::new(&method, &types));
            for path in http_paths(&rules, &method) {
                paths.insert(path, entry.clone());
            }
        }
        Self(paths)
    }

    pub(super) fn method(&self, path: &str) -> Option<&Arc<Method>> {
        self.0.get(path)
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn paths(&self) -> impl Iterator<Item = (&String, &Arc<Method>)> {
        self.0.iter()
    }
}

impl Method {
    fn new(method: &MethodDescriptor, types: &DescriptorPool) -> Self {
        let message = |name: &str| types.get_message_by_name(name).expect(COMPILED_IN);
        Self {
            grpc_path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            input: message(method.input().full_name()),
            output: message(method.output().full_name()),
            many_requests: method.is_client_streaming(),
            many_answers: method.is_server_streaming(),
        }
    }
}

fn http_paths(rules: &DescriptorPool, method: &MethodDescriptor) -> Vec<String> {
    let Some(option) = rules.get_extension_by_name(HTTP_RULE) else { return Vec::new() };
    let options = method.options();
    if !options.has_extension(&option) {
        return Vec::new();
    }
    let rule = options.get_extension(&option);
    rule.as_message().map(rule_paths).unwrap_or_default()
}

fn rule_paths(rule: &DynamicMessage) -> Vec<String> {
    let field = |name| rule.get_field_by_name(name);
    let own = field("post").and_then(|post| post.as_str().map(str::to_owned));
    let more = field("additional_bindings");
    let more = more.as_deref().and_then(Value::as_list).unwrap_or_default();
    let more = more.iter().filter_map(Value::as_message).flat_map(rule_paths);
    own.into_iter().chain(more).collect()
}

/// The messages, each field under etcd's name. A few are called otherwise in our `.proto` files,
/// for the sake of Rust; there the JSON name is etcd's.
fn types() -> DescriptorPool {
    let mut files = FileDescriptorSet::decode(api::DESCRIPTORS).expect(COMPILED_IN);
    files.file.iter_mut().flat_map(|file| &mut file.message_type).for_each(rename);
    DescriptorPool::from_file_descriptor_set(files).expect(COMPILED_IN)
}

fn rename(message: &mut DescriptorProto) {
    message.nested_type.iter_mut().for_each(rename);
    for field in &mut message.field {
        let camel = camel(field.name());
        if let Some(json) = field.json_name.clone().filter(|json| *json != camel) {
            field.name = Some(json);
        }
    }
}

/// The JSON name of a field that does not say another.
fn camel(name: &str) -> String {
    let mut camel = String::new();
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            letter if upper => {
                camel.push(letter.to_ascii_uppercase());
                upper = false;
            }
            letter => camel.push(letter),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_of_etcd_but_one_has_a_path() {
        // Shows that the table is whole: 49 methods, one of them without a path, three with two.
        let table = Table::new();
        let methods: BTreeSet<_> = table.paths().map(|(_, method)| &method.grpc_path).collect();
        assert_eq!((table.0.len(), methods.len()), (51, 48));
        assert!(!methods.iter().any(|path| path.ends_with("/RangeStream")));
        let range = table.method("/v3/kv/range").unwrap();
        assert_eq!(range.grpc_path, "/etcdserverpb.KV/Range");
        let watch = table.method("/v3/watch").unwrap();
        assert!(watch.many_requests && watch.many_answers);
    }

    #[test]
    fn fields_have_etcds_names() {
        // Shows those that Rust would spell otherwise.
        let types = types();
        let member = types.get_message_by_name("etcdserverpb.Member").unwrap();
        let names: Vec<_> = member.fields().map(|field| field.name().to_owned()).collect();
        assert_eq!(names, ["ID", "name", "peerURLs", "clientURLs", "isLearner"]);
    }
}

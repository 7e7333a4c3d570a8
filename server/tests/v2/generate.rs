//! Draws requests from a seed. Few keys, so that they meet; all fields, good and bad.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::http::Ask;

/// Names of which none begins another: etcd takes `/ab` for something below `/a` when `/a` goes.
const KEYS: &[&str] = &[
    "",
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/b",
    "/b/_h",
    "/_h",
    "/_h/x",
    "/c/x%20y",
    "/c",
    "/d/%C3%A9",
    "/c/%ff",
    "/q",
    "/q/",
];

/// Fields that make nothing else of a request, with values that are wrong among them.
const ODD: &[&str] = &[
    "recursive=x",
    "sorted=maybe",
    "dir=2",
    "quorum=",
    "stream=no",
    "wait=1x",
    "prevIndex=-1",
    "prevIndex=x",
    "waitIndex=1.5",
    "ttl=x",
    "ttl=-1",
    "ttl=99999999999999999999",
    "prevValue=",
    "prevExist=",
    "prevExist=yes",
    "refresh=x",
    "noValueOnSuccess=x",
    "refresh=true",
    "refresh=true&value=x&ttl=900",
    "x=%zz",
    "a;b",
    "unknown=1",
    "ttl=",
    "wait=true&dir=x",
];

const METHODS: &[&str] = &["PUT", "PUT", "PUT", "PUT", "POST", "DELETE", "DELETE", "GET", "GET"];

pub(crate) struct Generator(StdRng);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(&mut self.0).expect("there is something to choose from")
    }

    pub(crate) fn key(&mut self) -> &'static str {
        self.pick(KEYS)
    }

    /// A request that is answered at once; `index` is that of the tree.
    pub(crate) fn ask(&mut self, index: u64) -> Ask {
        if self.one_in(60) {
            return self.strange();
        }
        let method = self.pick(METHODS);
        let target = format!("/v2/keys{}", self.key());
        let mut fields = match method {
            "GET" => self.reading(),
            "DELETE" => self.deleting(index),
            _ => self.writing(index),
        };
        if self.one_in(12) {
            fields.push(self.pick(ODD).to_owned());
        }
        let fields = fields.join("&");
        if matches!(method, "PUT" | "POST") && !self.one_in(5) {
            return Ask::new(method, target).form(fields);
        }
        let target = if fields.is_empty() { target } else { format!("{target}?{fields}") };
        Ask::new(method, target)
    }

    fn reading(&mut self) -> Vec<String> {
        let flags = ["recursive=true", "sorted=true", "quorum=true", "recursive=false"];
        flags.iter().filter(|_| self.one_in(3)).map(ToString::to_string).collect()
    }

    fn deleting(&mut self, index: u64) -> Vec<String> {
        let mut fields = Vec::new();
        for flag in ["dir=true", "recursive=true"] {
            if self.one_in(2) {
                fields.push(flag.to_owned());
            }
        }
        if self.one_in(4) {
            fields.push(self.condition(index));
        }
        fields
    }

    fn writing(&mut self, index: u64) -> Vec<String> {
        let mut fields = Vec::new();
        if !self.one_in(4) {
            let value = self.pick(&["x", "y", "", "a+b", "%3C%26%3E", "%C3%A9", "%ff%fe", "1"]);
            fields.push(format!("value={value}"));
        } else if self.one_in(2) {
            fields.push("dir=true".to_owned());
        }
        if self.one_in(5) {
            let ttl = self.pick(&["1000", "5000", "10000000000", "900"]);
            fields.push(format!("ttl={ttl}"));
            if self.one_in(3) {
                fields.retain(|field| !field.starts_with("value"));
                fields.push("refresh=true".to_owned());
            }
        }
        // A change that lets a node end at once ends it at a moment of each side's own.
        let ends_at_once = fields.iter().any(|field| field == "ttl=10000000000");
        if self.one_in(2) && !ends_at_once {
            fields.push(self.condition(index));
        }
        if self.one_in(8) {
            fields.push("noValueOnSuccess=true".to_owned());
        }
        fields
    }

    fn condition(&mut self, index: u64) -> String {
        match self.below(5) {
            0 => "prevExist=true".to_owned(),
            1 => "prevExist=false".to_owned(),
            2 => format!("prevValue={}", self.pick(&["x", "y", "1"])),
            3 => format!("prevIndex={}", index.saturating_sub(self.below(12) as u64)),
            _ => format!("prevValue=x&prevIndex={}", index.saturating_sub(self.below(4) as u64)),
        }
    }

    /// What no client sends on purpose.
    fn strange(&mut self) -> Ask {
        let target = self.pick(&[
            "/v2/keys//a",
            "/v2/keys/a/../b",
            "/v2/keys/%2e%2e/x?y=1",
            "/v2/nothing",
            "/v2/",
            "/v2/keysx",
            "/v2/stats",
            "/v2/stats/none",
            "/v2/members/none",
            "/v2/keys/./a/",
            "/v2/machines/",
            "/v2/keys/a%2Fb",
            "/v2/stats/self/",
        ]);
        match self.below(4) {
            0 => Ask::new("PATCH", "/v2/keys/a"),
            1 => Ask::new("HEAD", format!("/v2/keys{}", self.key())),
            2 => {
                let types = ["text/plain", "a/", "application/json", "multipart/form-data"];
                let content_type = types[self.below(types.len())];
                let body = Some((content_type, "value=x&ttl=y".to_owned()));
                Ask { body, ..Ask::new("PUT", "/v2/keys/b") }
            }
            _ => Ask::new("GET", target),
        }
    }
}

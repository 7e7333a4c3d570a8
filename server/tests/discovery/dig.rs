//! `berth dns` as a process, and `dig` as its client.

use std::ops::Deref;

use testkit::{Finished, Script, Server, eventually, free_port, require};

use crate::tool::{SOON_S, Tool, endpoints};

/// A DNS server on loopback.
pub(crate) struct Dns {
    pub(crate) tool: Tool,
    asked: Asked,
    pub(crate) metrics_port: u16,
}

/// Whoever answers on a port of loopback.
pub(crate) struct Asked {
    pub(crate) port: u16,
}

impl Deref for Dns {
    type Target = Asked;

    fn deref(&self) -> &Asked {
        &self.asked
    }
}

impl Dns {
    /// Starts one that follows `server` and waits until it knows everything.
    pub(crate) async fn start(server: &Server, flags: &[&str]) -> Self {
        Self::follow(&endpoints(server), flags).await
    }

    pub(crate) async fn follow(endpoints: &str, flags: &[&str]) -> Self {
        let (port, metrics_port) = (free_port(), free_port());
        let listen = format!("--listen=127.0.0.1:{port}");
        let metrics = format!("--listen-metrics=127.0.0.1:{metrics_port}");
        let args = [&["dns", endpoints, &listen, &metrics], flags].concat();
        let dns = Self { tool: Tool::berth(&args), asked: Asked { port }, metrics_port };
        eventually("DNS", SOON_S, async || match dns.code("nobody.service.cluster.local").await {
            code if code == "NXDOMAIN" => Ok(()),
            code => Err(format!("{code}\n{}", dns.tool.log())),
        })
        .await;
        dns
    }

    /// Waits until a question is answered so.
    pub(crate) async fn until(&self, args: &[&str], wanted: &[&str]) {
        eventually(&args.join(" "), SOON_S, async || match self.answers(args).await {
            answers if answers == wanted => Ok(()),
            answers => Err(format!("{answers:?}, not {wanted:?}\n{}", self.tool.log())),
        })
        .await;
    }

    /// The value of a metric, by its name and labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let page = crate::tool::page(self.metrics_port, "/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }
}

impl Asked {
    /// Runs dig to its end.
    pub(crate) async fn dig(&self, args: &[&str]) -> Finished {
        let port = self.port.to_string();
        let all = [&["@127.0.0.1", "-p", &port, "+tries=1", "+time=5", "+noall"], args].concat();
        Script::new(&require("dig", "bind9-dnsutils"), &all).run().await
    }

    /// The answers to a question, one line each, sorted: lifetimes and classes are left out.
    pub(crate) async fn answers(&self, args: &[&str]) -> Vec<String> {
        let found = self.dig(&[args, &["+answer"]].concat()).await.stdout;
        let words = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let data = words.get(4..).unwrap_or_default().join(" ");
            format!("{} {data}", words.get(3).unwrap_or(&"?"))
        };
        let mut lines: Vec<String> = found.lines().map(words).collect();
        lines.sort();
        lines
    }

    /// What is told beside the answers to a question, sorted: name, type and data.
    pub(crate) async fn beside(&self, args: &[&str]) -> Vec<String> {
        let found = self.dig(&[args, &["+additional"]].concat()).await.stdout;
        // The client's own EDNS record is a comment of several words.
        let records = found.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
        let words = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            [&words[..1], words.get(3..).unwrap_or_default()].concat().join(" ")
        };
        let mut lines: Vec<String> = records.map(words).collect();
        lines.sort();
        lines
    }

    /// The response code of a question for an address.
    pub(crate) async fn code(&self, name: &str) -> String {
        self.code_of(&[name]).await
    }

    /// The response code of any question.
    pub(crate) async fn code_of(&self, args: &[&str]) -> String {
        let found = self.dig(&[args, &["+comments"]].concat()).await.stdout;
        let code = found.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        code.unwrap_or("no answer").to_owned()
    }
}

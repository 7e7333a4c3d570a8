//! Takes out of an output what may differ between two runs: ids, ports, paths, times, sizes.

use api::etcdserverpb::MemberListRequest;
use testkit::Server;

use crate::cases::Form;

/// The values that one server chose, with the names they get in a transcript.
#[derive(Debug)]
pub(crate) struct Names {
    /// Real value and name, in the order in which they are replaced.
    names: Vec<(String, &'static str)>,
}

/// The name of the last lease that a script granted; scripts use it as an argument.
const LEASE: &str = "$LEASE";
/// A file that a script may write.
const FILE: &str = "$FILE";

impl Names {
    pub(crate) async fn of(server: &Server) -> Self {
        let answer =
            server.clients().cluster.member_list(MemberListRequest { linearizable: true }).await;
        let answer = answer.expect("a fresh server lists its members").into_inner();
        let header = answer.header.expect("every answer has a header");
        let file = server.data_dir().with_file_name("written-by-the-script");
        let names = vec![
            (file.display().to_string(), FILE),
            (format!("127.0.0.1:{}", server.client_port), "$CLIENT"),
            (format!("127.0.0.1:{}", server.peer_port), "$PEER"),
            (header.member_id.to_string(), "$MEMBER"),
            (format!("{:x}", header.member_id), "$MEMBER"),
            (header.cluster_id.to_string(), "$CLUSTER"),
            (format!("{:x}", header.cluster_id), "$CLUSTER"),
        ];
        Self { names }
    }

    /// Remembers the id that `lease grant` printed in its simple form.
    pub(crate) fn learn_lease(&mut self, arguments: &[String], stdout: &str) {
        if arguments.first().map(String::as_str) != Some("lease") {
            return;
        }
        let mut words = stdout.split_whitespace();
        if let (Some("lease"), Some(hex), Some("granted")) =
            (words.next(), words.next(), words.next())
            && let Ok(id) = i64::from_str_radix(hex, 16)
            && arguments.get(1).is_some_and(|verb| verb == "grant")
        {
            self.names.retain(|(_, name)| *name != LEASE);
            self.names.push((hex.to_owned(), LEASE));
            self.names.push((id.to_string(), LEASE));
        }
    }

    /// A script's text with the real values in place of their names.
    pub(crate) fn real(&self, text: &str) -> String {
        [LEASE, FILE, "$CLIENT", "$PEER", "$MEMBER"].iter().fold(text.to_owned(), |text, name| {
            // For the member the hex form, which is what commands take.
            let real = match *name {
                "$MEMBER" => self.names.iter().rfind(|(_, of)| of == name),
                _ => self.names.iter().find(|(_, of)| of == name),
            };
            real.map_or(text.clone(), |(real, _)| text.replace(name, real))
        })
    }

    /// An output with names in place of the real values.
    pub(crate) fn normal(&self, text: &str, form: Form) -> String {
        let mut text = text.to_owned();
        for (real, name) in &self.names {
            text = text.replace(real, name);
        }
        text = replace_tokens(&text, is_chosen_id, "$ID");
        // An id of less than sixteen digits is told with blanks before it.
        for what in ["Member", "cluster"] {
            while text.contains(&format!("{what}  ")) {
                text = text.replace(&format!("{what}  "), &format!("{what} "));
            }
        }
        if form == Form::Loose {
            text = replace_tokens(&text, is_measure, "$N");
        }
        after_each(&collapse(&text), &["raft_term\":", "\"RaftTerm\" : "], "$TERM")
    }
}

/// Replaces every word (a run of letters, digits and dots) that `matches`.
fn replace_tokens(text: &str, matches: fn(&str) -> bool, name: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_alphanumeric() || c == '.';
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        result.push_str(if matches(word) { name } else { word });
        let next = tail.find(is_word).unwrap_or(tail.len());
        result.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    result
}

/// An id that a server chose: no script uses numbers this long.
fn is_chosen_id(word: &str) -> bool {
    let hex = word.len() >= 13 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    hex && word.bytes().any(|b| b.is_ascii_digit())
}

/// A size, a time, a version, an index: something that begins with a digit.
fn is_measure(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// The widths of a table follow from what stands in it: a run of spaces or dashes is one.
fn collapse(text: &str) -> String {
    let table = |line: &str| line.starts_with('+') || line.starts_with('|');
    let lines = text.lines().map(|line| {
        let mut line = line.to_owned();
        for (run, one) in [("  ", " "), ("--", "-")] {
            while table(&line) && line.contains(run) {
                line = line.replace(run, one);
            }
        }
        line + "\n"
    });
    lines.collect()
}

/// Replaces the number after each occurrence of a label.
fn after_each(text: &str, labels: &[&str], name: &str) -> String {
    labels.iter().fold(text.to_owned(), |text, label| {
        let mut parts = text.split(label);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |done, part| {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            done + label + name + rest
        })
    })
}

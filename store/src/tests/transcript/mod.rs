//! Transcripts: `testdata/*.txt` say what is done to a store and what it prints.
//!
//! A line with `> ` is a command, or a part of the one before if it is indented; what it prints
//! follows. Run with `UPDATE_TRANSCRIPTS=1` to write down what is printed now, and read the
//! difference.

mod parse;
mod print;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use api::berthpb::{Command, Principal};
use bytes::Bytes;

use self::parse::{Line, Verb};
use crate::engine::{Engine, MemEngine};
use crate::{Options, Position, Store};

#[test]
fn transcripts_print_what_they_printed() {
    // Every transcript's output is what its file says.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension() == Some("txt".as_ref())).collect();
    files.sort();
    assert!(files.len() >= 8, "the transcripts are there");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let printed = run(&text);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&file, printed).unwrap();
        } else {
            assert!(printed == text, "{}:\n{printed}", file.display());
        }
    }
}

/// The text with everything that is printed made anew.
fn run(text: &str) -> String {
    let mut world = World::new();
    let mut printed = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(command) = line.strip_prefix("> ") {
            let mut parts = Vec::new();
            while let Some(part) = lines.next_if(|line| line.starts_with(">  ")) {
                parts.push(&part[2..]);
            }
            writeln!(printed, "{line}").unwrap();
            parts.iter().for_each(|part| writeln!(printed, "> {part}").unwrap());
            printed.push_str(&world.run(&parse::line(command, &parts)));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(printed, "{line}").unwrap();
        }
    }
    printed
}

struct World {
    engine: Arc<dyn Engine>,
    store: Store,
    index: u64,
}

impl World {
    fn new() -> Self {
        let engine: Arc<dyn Engine> = Arc::new(MemEngine::new());
        let store = Store::open(Arc::clone(&engine), Options::default()).unwrap();
        World { engine, store, index: 0 }
    }

    fn run(&mut self, line: &Line) -> String {
        let principal = line.principal.as_ref();
        let reader = self.store.reader();
        match &line.verb {
            Verb::Apply(op) => self.apply(&Command {
                principal: line.principal.clone(),
                origin: None,
                op: Some(op.clone()),
            }),
            Verb::Get(request) => match reader.check_range(request) {
                Ok(()) => print::range(&reader.range(principal, request)),
                Err(error) => format!("refused before the log: {error:?}\n"),
            },
            Verb::History(from) => {
                print::history(&reader, &reader.history(*from, i64::MAX, &|_| true, 1 << 20))
            }
            Verb::Leases => print::leases(&reader),
            Verb::Size => print::size(&reader, &*self.engine),
            Verb::HashIsThatOfACopy => self.compare_with_a_copy(),
            Verb::Flush => format!("flushed {}\n", self.store.flusher().flush_once().unwrap()),
            Verb::Vacuum => {
                let compactor = self.store.compactor();
                while compactor.step(1).unwrap() {}
                String::new()
            }
            Verb::Reopen => {
                self.store = Store::open(Arc::clone(&self.engine), Options::default()).unwrap();
                let position = self.store.reader().position();
                self.index = position.index;
                format!("at entry {} revision {}\n", position.index, self.store.reader().revision())
            }
            Verb::AuthRevision => format!("auth revision {}\n", reader.auth().revision()),
        }
    }

    fn apply(&mut self, command: &Command) -> String {
        if let Err(error) = self.store.reader().check(command) {
            return format!("refused before the log: {error:?}\n");
        }
        self.index += 1;
        let position = Position { index: self.index, term: 1, log_id: Bytes::new() };
        print::applied(&self.store.apply(position, command))
    }

    /// A copy by snapshot answers the same hash, whatever was vacuumed here.
    fn compare_with_a_copy(&self) -> String {
        let mut bytes = Vec::new();
        self.store.snapshot().write_to(&mut bytes).unwrap();
        let copy =
            Store::restore(Arc::new(MemEngine::new()), Options::default(), &mut &*bytes).unwrap();
        let (ours, theirs) = (self.store.reader().hash(), copy.reader().hash());
        let is_equal = ours.unwrap() == theirs.unwrap();
        format!("{}\n", if is_equal { "equal" } else { "different" })
    }
}

fn principal(text: &str) -> Principal {
    let (user, revision) = text.split_once('@').unwrap();
    Principal { user: user.to_owned(), auth_revision: revision.parse().unwrap() }
}

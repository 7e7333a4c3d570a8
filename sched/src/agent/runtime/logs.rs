//! Logs of containers in Kubernetes' own format, one line each: time, stream, `F` (or `P`: the line
//! goes on in the next), text. Written with rotation, read back and followed across it.
//!
//! `current` is being written; `current.1` is the one before it, and so on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use super::{LogStream, Result};

/// Longer lines are written in parts.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// Lines that wait for a slow reader.
const WAITING_MAX: usize = 256;
/// Between two looks at a log that is followed.
const LOOK: Duration = Duration::from_millis(100);
const CURRENT: &str = "current";

/// Which lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on until the container ends.
    pub follow: bool,
    /// Only so many from the end.
    pub tail: Option<usize>,
    pub since: Option<Timestamp>,
}

/// A line, or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub time: Timestamp,
    pub is_stderr: bool,
    /// With its newline, unless it goes on.
    pub text: Bytes,
}

/// Writes a log and keeps it small.
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    file: File,
    written_bytes: u64,
    file_bytes_max: u64,
    files_max: u32,
}

impl LogWriter {
    /// # Errors
    /// The directory cannot be made or written to.
    pub fn open(directory: &Path, file_bytes_max: u64, files_max: u32) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = File::options().create(true).append(true).open(directory.join(CURRENT))?;
        let written_bytes = file.metadata()?.len();
        let directory = directory.to_owned();
        Ok(Self { directory, file, written_bytes, file_bytes_max, files_max: files_max.max(1) })
    }

    /// Writes one line, or a part of it.
    ///
    /// # Errors
    /// The disk is full, or worse.
    pub fn write(&mut self, now: Timestamp, stream: &str, text: &[u8]) -> io::Result<()> {
        let (text, tag) = match text.strip_suffix(b"\n") {
            Some(text) => (text, 'F'),
            None => (text, 'P'),
        };
        let mut line = format!("{now:.9} {stream} {tag} ").into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        if self.written_bytes > 0 && self.written_bytes + line.len() as u64 > self.file_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(&line)?;
        self.written_bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..self.files_max).rev() {
            let from = file_of(&self.directory, number);
            if !from.exists() {
                continue;
            }
            if number + 1 == self.files_max {
                std::fs::remove_file(from)?;
            } else {
                std::fs::rename(from, file_of(&self.directory, number + 1))?;
            }
        }
        let current = self.directory.join(CURRENT);
        self.file = File::options().create(true).append(true).open(current)?;
        self.written_bytes = 0;
        Ok(())
    }
}

fn file_of(directory: &Path, number: u32) -> PathBuf {
    match number {
        0 => directory.join(CURRENT),
        number => directory.join(format!("{CURRENT}.{number}")),
    }
}

/// Reads a log. `is_running`: whether more may come.
pub fn read(
    directory: &Path,
    query: LogQuery,
    is_running: impl Fn() -> bool + Send + 'static,
) -> LogStream {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let directory = directory.to_owned();
    tokio::spawn(async move {
        // An error here is that nobody listens any more.
        let _ = Reader { directory, query, sender }.run(is_running).await;
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver).boxed()
}

struct Reader {
    directory: PathBuf,
    query: LogQuery,
    sender: mpsc::Sender<Result<LogLine>>,
}

/// Nobody listens.
struct Gone;

impl Reader {
    async fn run(self, is_running: impl Fn() -> bool) -> std::result::Result<(), Gone> {
        let mut kept = VecDeque::new();
        let mut current = None;
        for path in self.files() {
            let Ok(file) = tokio::fs::File::open(&path).await else { continue };
            let mut lines = Lines::new(file);
            while let Some(line) = lines.next().await {
                self.keep(line, &mut kept).await?;
            }
            current = Some(lines);
        }
        for line in kept {
            self.send(line).await?;
        }
        if self.query.follow { self.follow(current, is_running).await } else { Ok(()) }
    }

    /// From the oldest to the one being written.
    fn files(&self) -> Vec<PathBuf> {
        let exists = |number: &u32| file_of(&self.directory, *number).exists();
        let count = (1..).take_while(exists).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        (0..=count).rev().map(|number| file_of(&self.directory, number)).collect()
    }

    async fn keep(
        &self,
        line: LogLine,
        kept: &mut VecDeque<LogLine>,
    ) -> std::result::Result<(), Gone> {
        if self.query.since.is_some_and(|since| line.time < since) {
            return Ok(());
        }
        let Some(tail) = self.query.tail else { return self.send(line).await };
        kept.push_back(line);
        if kept.len() > tail {
            kept.pop_front();
        }
        Ok(())
    }

    async fn send(&self, line: LogLine) -> std::result::Result<(), Gone> {
        self.sender.send(Ok(line)).await.map_err(|_| Gone)
    }

    async fn follow(
        &self,
        mut lines: Option<Lines>,
        is_running: impl Fn() -> bool,
    ) -> std::result::Result<(), Gone> {
        loop {
            // Asked before reading: what was written before the end is read after it.
            let is_last = !is_running();
            if let Some(lines) = &mut lines {
                while let Some(line) = lines.next().await {
                    self.send(line).await?;
                }
            }
            if self.was_replaced(lines.as_ref()).await {
                lines =
                    tokio::fs::File::open(file_of(&self.directory, 0)).await.ok().map(Lines::new);
                continue;
            }
            if is_last {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.sender.closed() => return Err(Gone),
            }
        }
    }

    async fn was_replaced(&self, lines: Option<&Lines>) -> bool {
        use std::os::unix::fs::MetadataExt;
        let Ok(now) = tokio::fs::metadata(file_of(&self.directory, 0)).await else { return false };
        lines.is_none_or(|lines| lines.inode != Some(now.ino()))
    }
}

/// The lines of one file, as far as they are complete.
struct Lines {
    file: BufReader<tokio::fs::File>,
    inode: Option<u64>,
    /// The beginning of a line that is still being written.
    begun: Vec<u8>,
}

impl Lines {
    fn new(file: tokio::fs::File) -> Self {
        let inode = inode(&file);
        Self { file: BufReader::new(file), inode, begun: Vec::new() }
    }

    async fn next(&mut self) -> Option<LogLine> {
        loop {
            // A file that cannot be read has no more lines.
            self.file.read_until(b'\n', &mut self.begun).await.ok()?;
            if !self.begun.ends_with(b"\n") {
                return None;
            }
            let line = parse(&self.begun);
            self.begun.clear();
            if line.is_some() {
                return line;
            }
        }
    }
}

fn inode(file: &tokio::fs::File) -> Option<u64> {
    rustix::fs::fstat(file).ok().map(|stat| stat.st_ino)
}

fn parse(line: &[u8]) -> Option<LogLine> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let stream = fields.next()?;
    let is_part = fields.next()? == b"P";
    let text = fields.next()?;
    let text = if is_part { text.strip_suffix(b"\n")? } else { text };
    Some(LogLine { time, is_stderr: stream == b"stderr", text: Bytes::copy_from_slice(text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::clock;

    async fn texts(stream: LogStream) -> Vec<String> {
        stream.map(|line| String::from_utf8_lossy(&line.unwrap().text).into_owned()).collect().await
    }

    #[tokio::test]
    async fn lines_survive_rotation_and_old_ones_go() {
        // Proves the format, that rotation keeps the newest files alone, and what tail and since do.
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(directory.path(), 200, 3).unwrap();
        let at = |second: i64| Timestamp::new(1_700_000_000 + second, 0).unwrap();
        for number in 0..40 {
            log.write(at(number), "stdout", format!("line {number}\n").as_bytes()).unwrap();
        }
        log.write(at(40), "stderr", b"part").unwrap();
        let all = texts(read(directory.path(), LogQuery::default(), || false)).await;
        assert!(all.len() < 20 && all.len() > 8, "{all:?}");
        assert_eq!(all[all.len() - 2..], ["line 39\n", "part"]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
        let tail = LogQuery { tail: Some(2), ..LogQuery::default() };
        assert_eq!(texts(read(directory.path(), tail, || false)).await, ["line 39\n", "part"]);
        let since = LogQuery { since: Some(at(39)), ..LogQuery::default() };
        assert_eq!(texts(read(directory.path(), since, || false)).await.len(), 2);
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_across_rotation_until_the_end() {
        // Proves that a follower gets what is written later, in a new file too, and ends.
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(directory.path(), 100, 3).unwrap();
        let running = Arc::new(AtomicBool::new(true));
        let asked = running.clone();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let following = read(directory.path(), query, move || asked.load(Ordering::Relaxed));
        let following = tokio::spawn(texts(following));
        for number in 0..6 {
            log.write(clock::now(), "stdout", format!("{number}\n").as_bytes()).unwrap();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        running.store(false, Ordering::Relaxed);
        assert_eq!(following.await.unwrap().concat(), "0\n1\n2\n3\n4\n5\n");
    }
}

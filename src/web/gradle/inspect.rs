//! Looking into an entry while it passes: its METADATA, and on request whether it holds.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use crate::config::Inspect;
use crate::model::metadata::{self, Task};

/// A deflated byte stands for at most 1032 (the format's limit), so that even an honest entry of zeros passes; what
/// inflates to more than this in all is not looked at any further and does not hold.
const MAX_INFLATED: u64 = 16 << 30;

/// Sees every byte of an entry once, in order.
pub struct Inspector {
    head: Vec<u8>,
    inflater: Option<Inflater>,
}

/// What was seen.
pub struct Seen {
    /// The task, where METADATA told one; `None` when the bytes do not begin as an entry.
    pub task: Option<Task>,
    /// Whether the entry holds its own checks, or nobody wanted to know.
    pub holds: bool,
}

impl Inspector {
    pub fn new(how: Inspect) -> Self {
        let inflater = match how {
            Inspect::Header => None,
            Inspect::Full => Some(Inflater::default()),
        };
        Self { head: Vec::new(), inflater }
    }

    /// Looks at the next bytes.
    pub fn see(&mut self, bytes: &Bytes) {
        let wanted = metadata::HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        if let Some(inflater) = &mut self.inflater {
            inflater.feed(bytes);
        }
    }

    /// Says what was seen, after the last byte.
    pub fn finish(self) -> Seen {
        let task = metadata::read_task(&self.head);
        let holds = self.inflater.is_none_or(|inflater| inflater.holds());
        Seen { task, holds }
    }
}

/// Inflates a gzip to nowhere, for its CRC and length (RFC 1952, section 2.3.1).
struct Inflater {
    inflate: Decompress,
    out: Vec<u8>,
    inflated: u64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Going,
    Ended,
    Broken,
}

impl Default for Inflater {
    fn default() -> Self {
        // zlib's own gzip reading checks the header, the CRC and the length.
        Self { inflate: Decompress::new_gzip(15), out: vec![0; 64 << 10], inflated: 0, state: State::Going }
    }
}

impl Inflater {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.state == State::Going {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(bytes, &mut self.out, FlushDecompress::None);
            let consumed = usize::try_from(self.inflate.total_in() - before_in).unwrap_or(bytes.len());
            let produced = self.inflate.total_out() - before_out;
            self.inflated += produced;
            bytes = &bytes[consumed..];
            self.state = match status {
                Ok(Status::StreamEnd) if bytes.is_empty() => State::Ended,
                Ok(Status::Ok | Status::BufError)
                    if self.inflated <= MAX_INFLATED && consumed as u64 + produced > 0 =>
                {
                    State::Going
                }
                _ => State::Broken,
            };
        }
        if !bytes.is_empty() {
            self.state = State::Broken; // bytes behind the end
        }
    }

    fn holds(&self) -> bool {
        self.state == State::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::tests::entry;

    fn look(bytes: &[u8], step: usize) -> Seen {
        let mut inspector = Inspector::new(Inspect::Full);
        for piece in bytes.chunks(step) {
            inspector.see(&Bytes::copy_from_slice(piece));
        }
        inspector.finish()
    }

    #[test]
    fn whole_entries_hold_and_damaged_ones_do_not() {
        let bytes = entry("path=\\:a\nexecutionTime=7\n", &vec![9; 200_000]);
        for step in [1, 100, 100_000] {
            let seen = look(&bytes, step);
            assert!(seen.holds);
            assert_eq!(seen.task.unwrap().execution_ms, 7);
        }
        assert!(!look(&bytes[..bytes.len() - 1], 100).holds, "cut short");
        let mut flipped = bytes.clone();
        let middle = bytes.len() - 6;
        flipped[middle] ^= 1;
        assert!(!look(&flipped, 100).holds, "another checksum");
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(!look(&longer, 100).holds, "bytes behind the end");
        assert!(!look(b"no gzip", 3).holds);
        assert!(!look(b"", 1).holds);
    }
}

//! Checksums of a body, one for every piece of 1 MiB, so that a part of it can be checked without the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::INLINE;

/// xxh3-64 of each 1 MiB chunk in order, the last one shorter; an empty body has none. As text: base64 of the sums,
/// little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sums(Vec<u64>);

impl Sums {
    /// The sums of a whole body in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.chunks(INLINE as usize).map(xxh3_64).collect())
    }

    /// Whether `bytes` is chunk `index`.
    pub fn holds(&self, index: usize, bytes: &[u8]) -> bool {
        self.get(index) == Some(xxh3_64(bytes))
    }

    /// These sums and those of what follows in a payload of its own.
    pub fn join(mut self, more: &Self) -> Self {
        self.0.extend_from_slice(&more.0);
        self
    }

    /// The sum of chunk `index`.
    pub fn get(&self, index: usize) -> Option<u64> {
        self.0.get(index).copied()
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Sums> for String {
    fn from(sums: Sums) -> Self {
        let bytes: Vec<u8> = sums.0.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        STANDARD_NO_PAD.encode(bytes)
    }
}

impl TryFrom<String> for Sums {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| "sums are not base64")?;
        let (sums, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err("sums are cut short");
        }
        Ok(Self(sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect()))
    }
}

/// Sums of a body that arrives in pieces of any size.
pub struct SumsBuilder {
    done: Vec<u64>,
    current: Box<Xxh3>,
    filled: u64,
}

impl Default for SumsBuilder {
    fn default() -> Self {
        Self { done: Vec::new(), current: Box::new(Xxh3::new()), filled: 0 }
    }
}

impl SumsBuilder {
    /// Takes the next bytes of the body.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(INLINE - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.current.update(now);
            self.filled += now.len() as u64;
            if self.filled == INLINE {
                self.close();
            }
            bytes = later;
        }
    }

    fn close(&mut self) {
        self.done.push(self.current.digest());
        self.current.reset();
        self.filled = 0;
    }

    /// The sums of everything taken.
    pub fn finish(mut self) -> Sums {
        if self.filled > 0 {
            self.close();
        }
        Sums(self.done)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pieces_of_any_size_give_the_sums_of_the_whole(
            len in 0usize..3 * 1024 * 1024, cuts in prop::collection::vec(1usize..400_000, 1..20)
        ) {
            let body: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            let mut builder = SumsBuilder::default();
            let (mut rest, mut cuts) = (body.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                builder.update(now);
                rest = later;
            }
            let sums = builder.finish();
            prop_assert_eq!(&sums, &Sums::of(&body));
            prop_assert_eq!(sums.len(), len.div_ceil(INLINE as usize));
            prop_assert_eq!(&Sums::try_from(String::from(sums.clone())).unwrap(), &sums);
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut body = vec![7u8; 100];
        let sums = Sums::of(&body);
        assert!(sums.holds(0, &body));
        body[50] ^= 1;
        assert!(!sums.holds(0, &body));
        assert!(!sums.holds(1, &body));
    }
}

//! The pieces of a body as they come from the network, held without holding more memory than was paid for.

use bytes::Bytes;

/// A piece is a slice of the connection's whole read buffer. From this size on it is kept as it is; smaller ones are
/// copied together, or a client that sends a byte at a time would pin a buffer with each.
const KEPT_WHOLE: usize = 16 << 10;
const BLOCK: usize = 64 << 10;

/// Pieces in order.
#[derive(Default)]
pub struct Gather {
    parts: Vec<Bytes>,
    tail: Vec<u8>,
    bytes: usize,
}

impl Gather {
    /// Adds the next piece.
    pub fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() >= KEPT_WHOLE {
            self.close_tail();
            self.parts.push(piece);
            return;
        }
        if self.tail.len() + piece.len() > BLOCK {
            self.close_tail();
        }
        self.tail.extend_from_slice(&piece);
    }

    /// How many bytes were added.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.close_tail();
        self.bytes = 0;
        std::mem::take(&mut self.parts)
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            tail.shrink_to_fit();
            self.parts.push(Bytes::from(tail));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_of_any_size_stay_in_order_and_small_ones_pin_nothing(sizes in prop::collection::vec(0usize..40_000, 0..30)) {
            let mut gather = Gather::default();
            let mut want = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let whole = Bytes::from(vec![i as u8; 64 << 10]);
                gather.push(whole.slice(..*size));
                want.extend_from_slice(&whole[..*size]);
                prop_assert!(*size >= KEPT_WHOLE || whole.is_unique(), "a small piece pins its buffer");
            }
            prop_assert_eq!(gather.bytes(), want.len());
            prop_assert_eq!(gather.take().concat(), want);
            prop_assert_eq!(gather.bytes(), 0);
        }
    }
}

use crate::Block;

/// Into which pieces a torrent is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pieces {
    count: u32,
    piece_bytes: u32,
    last_piece_bytes: u32,
}

impl Pieces {
    /// Of so many bytes, cut into pieces of so many, the last of which may be shorter. `None` if one of them is
    /// 0 or there would be 2³² pieces.
    pub fn new(total_bytes: u64, piece_bytes: u32) -> Option<Self> {
        let before_last = total_bytes.checked_sub(1)?.checked_div(piece_bytes.into())?;
        let last_piece_bytes = total_bytes - before_last * u64::from(piece_bytes);
        Some(Self {
            count: u32::try_from(before_last).ok()?.checked_add(1)?,
            piece_bytes,
            last_piece_bytes: last_piece_bytes.try_into().ok()?,
        })
    }

    /// How many there are; at least one.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of a piece; `None` if there is none of that index.
    pub fn bytes_of(&self, piece: u32) -> Option<u32> {
        match piece.checked_add(1)?.cmp(&self.count) {
            std::cmp::Ordering::Less => Some(self.piece_bytes),
            std::cmp::Ordering::Equal => Some(self.last_piece_bytes),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Bytes of a bitfield.
    pub fn bitfield_bytes(&self) -> u32 {
        self.count.div_ceil(8)
    }

    /// Whether a block lies within its piece and is not empty.
    pub fn contain(&self, block: &Block) -> bool {
        let end = block.begin.checked_add(block.length);
        block.length > 0 && end.zip(self.bytes_of(block.piece)).is_some_and(|(end, bytes)| end <= bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_torrent_when_cut_then_all_pieces_but_the_last_are_equal() {
        let pieces = Pieces::new(100, 40).unwrap();
        assert_eq!((3, 1), (pieces.count(), pieces.bitfield_bytes()));
        assert_eq!([Some(40), Some(40), Some(20), None, None], [0, 1, 2, 3, u32::MAX].map(|at| pieces.bytes_of(at)));

        let even = Pieces::new(80, 40).unwrap();
        assert_eq!([Some(40), None], [1, 2].map(|at| even.bytes_of(at)));
        assert_eq!(Some(u32::MAX), Pieces::new(u64::from(u32::MAX), 1).map(|pieces| pieces.count()));
        for (total, piece) in [(0, 1), (1, 0), (0, 0), (u64::from(u32::MAX) + 1, 1), (u64::MAX, 1)] {
            assert_eq!(None, Pieces::new(total, piece));
        }
    }

    #[test]
    fn given_blocks_when_checked_then_those_within_a_piece_are_contained() {
        let pieces = Pieces::new(100, 40).unwrap();
        let contains = |piece, begin, length| pieces.contain(&Block { piece, begin, length });

        assert!(contains(0, 0, 40) && contains(0, 39, 1) && contains(2, 0, 20));
        assert!(!contains(0, 0, 0) && !contains(0, 40, 1) && !contains(2, 0, 21) && !contains(3, 0, 1));
        assert!(!contains(0, u32::MAX, 2) && !contains(0, 1, u32::MAX) && !contains(u32::MAX, 0, 1));
    }
}

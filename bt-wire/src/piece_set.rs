use crate::{Pieces, Violation};

/// The pieces that a peer has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum PieceSet {
    /// None.
    #[default]
    None,
    /// All there are.
    All,
    /// Those whose bit is set, the first piece the greatest bit of the first byte. What is beyond is not set.
    Some(Vec<u8>),
}

impl PieceSet {
    /// What a bitfield says, which is checked if the pieces are known.
    pub(crate) fn of_bitfield(bits: &[u8], pieces: Option<&Pieces>) -> Result<Self, Violation> {
        if let Some(pieces) = pieces {
            check_bitfield(bits, pieces)?;
        }
        Ok(Self::Some(bits.to_vec()))
    }

    /// Checks what was told before the pieces were known.
    pub(crate) fn check(&self, told_by_bitfield: bool, pieces: &Pieces) -> Result<(), Violation> {
        match self {
            Self::Some(bits) if told_by_bitfield => check_bitfield(bits, pieces),
            Self::Some(bits) => match first_set_from(bits, pieces.count()) {
                Some(piece) => Err(Violation::NoSuchPiece { name: "have", piece }),
                None => Ok(()),
            },
            Self::None | Self::All => Ok(()),
        }
    }

    pub(crate) fn has(&self, piece: u32) -> bool {
        let (byte, mask) = place(piece);
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(bits) => bits.get(byte).is_some_and(|bits| bits & mask != 0),
        }
    }

    /// Sets a bit. Makes room for it, so check the index before.
    pub(crate) fn insert(&mut self, piece: u32) {
        let (byte, mask) = place(piece);
        if *self == Self::None {
            *self = Self::Some(Vec::new());
        }
        if let Self::Some(bits) = self {
            if bits.len() <= byte {
                bits.resize(byte + 1, 0);
            }
            bits[byte] |= mask;
        }
    }

    /// Clears a bit. Of all pieces there are `count`.
    pub(crate) fn remove(&mut self, piece: u32, count: u32) {
        let (byte, mask) = place(piece);
        if *self == Self::All {
            let mut bits = vec![0xff; count.div_ceil(8) as usize];
            if let Some(last) = bits.last_mut() {
                *last = !spare_bits(count);
            }
            *self = Self::Some(bits);
        }
        if let Self::Some(bits) = self
            && let Some(bits) = bits.get_mut(byte)
        {
            *bits &= !mask;
        }
    }
}

fn place(piece: u32) -> (usize, u8) {
    ((piece / 8) as usize, 0x80 >> (piece % 8))
}

/// The bits of the last byte that are of no piece.
fn spare_bits(count: u32) -> u8 {
    match count % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

fn check_bitfield(bits: &[u8], pieces: &Pieces) -> Result<(), Violation> {
    let expected = pieces.bitfield_bytes();
    if bits.len() != expected as usize {
        return Err(Violation::BitfieldLength { bytes: bits.len(), expected });
    }
    match bits.last() {
        Some(last) if last & spare_bits(pieces.count()) != 0 => Err(Violation::SpareBits),
        _ => Ok(()),
    }
}

/// The first piece from an index on whose bit is set.
fn first_set_from(bits: &[u8], from: u32) -> Option<u32> {
    let first = (from / 8) as usize;
    (0_u32..).zip(bits).skip(first).find_map(|(at, bits)| {
        let mask = if at == from / 8 { 0xff >> (from % 8) } else { 0xff };
        let set = bits & mask;
        (set != 0).then(|| at * 8 + set.leading_zeros())
    })
}

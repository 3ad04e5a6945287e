use core::fmt;

/// A way to write a value that is not the canonical one. Strict decoding refuses it, lenient decoding reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Deviation {
    /// A key of a dictionary is less than the one before it.
    UnsortedKeys,
    /// A key of a dictionary equals the one before it. (Equal keys that are apart are [`UnsortedKeys`](Self::UnsortedKeys).)
    DuplicateKey,
    /// An integer begins with a zero that could be left out.
    LeadingZero,
    /// The integer is `-0`.
    NegativeZero,
    /// An integer begins with a plus sign.
    PlusSign,
    /// The length of a string begins with a zero that could be left out.
    LengthLeadingZero,
}

impl Deviation {
    const ALL: [Self; 6] = [
        Self::UnsortedKeys,
        Self::DuplicateKey,
        Self::LeadingZero,
        Self::NegativeZero,
        Self::PlusSign,
        Self::LengthLeadingZero,
    ];
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnsortedKeys => "a key out of order",
            Self::DuplicateKey => "a key that is there twice",
            Self::LeadingZero => "an integer with leading zeros",
            Self::NegativeZero => "a negative zero",
            Self::PlusSign => "an integer with a plus sign",
            Self::LengthLeadingZero => "a length with leading zeros",
        })
    }
}

/// What was not canonical in a document, and where first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deviations {
    first: [Option<u32>; Deviation::ALL.len()],
}

impl Deviations {
    pub(crate) fn note(&mut self, deviation: Deviation, offset: u32) {
        self.first[deviation as usize].get_or_insert(offset);
    }

    /// Whether there are none: the document is canonical.
    pub fn is_empty(&self) -> bool {
        self.first.iter().all(Option::is_none)
    }

    /// Offset of the first token that deviates in this way.
    pub fn first(&self, deviation: Deviation) -> Option<usize> {
        self.first[deviation as usize].map(|offset| offset as usize)
    }

    /// Each kind that occurs, with the offset of the first token that deviates so.
    pub fn iter(&self) -> impl Iterator<Item = (Deviation, usize)> + '_ {
        Deviation::ALL.into_iter().filter_map(|deviation| Some((deviation, self.first(deviation)?)))
    }
}

use std::time::Duration;

/// What a [`FaultyPeer`](crate::FaultyPeer) does wrong. What is not said is done right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerFault {
    /// Nothing.
    Honest,

    /// Noise instead of a handshake.
    Garbage,
    /// A handshake of another protocol.
    WrongHandshake,
    /// The handshake of another swarm than was asked for.
    OtherSwarm,
    /// No extension handshake, and nothing else either.
    NoExtensionHandshake,
    /// The extension handshake comes late. With a short pause nothing is wrong.
    LateExtensionHandshake {
        /// How late.
        after: Duration,
    },
    /// The extension handshake comes again after the first answer, with another number for `ut_xet`, which is
    /// allowed.
    TwoExtensionHandshakes,
    /// The extension handshake comes again and again, without end.
    EndlessExtensionHandshakes,
    /// An extension handshake of half a megabyte.
    HugeExtensionHandshake,

    /// After the handshakes it reads and says nothing.
    SilentAfterHandshake,
    /// The first chunk stops in its middle.
    SilentMidChunk,
    /// Everything after the handshakes comes this slowly.
    Slow {
        /// Pace.
        bytes_per_second: u64,
    },

    /// One bit of the first chunk of every answer is flipped. Chunks are sent as they are, uncompressed.
    FlipsABit,
    /// Two valid chunks of every answer are swapped.
    SwapsChunks,
    /// Lists and chunks are those of another file of the same length, which prove each other.
    ProvesAnotherFile,
    /// Lists are those of an inner level of the file's tree, which reduce to the right hash. Level 1 stands over the
    /// chunks. Of a file that is not so deep, its root.
    ListsInnerLevel(u8),
    /// Chunks for a request that was never made.
    UnaskedChunks,
    /// Chunks beyond the range that was asked for.
    ChunksBeyondTheRange,
    /// Every chunk comes twice.
    RepeatsChunks,
    /// Chunks come in descending order.
    ReordersChunks,
    /// The last chunk of every answer is left out, and its END says that all was sent.
    LeavesOutTheLastChunk,
    /// The first chunk of every answer is an LZ4 frame that is a thousand times as long as it says.
    Lz4Bomb,

    /// No request is ever ended.
    NeverEnds,
    /// Every request is ended twice.
    EndsTwice,
    /// Every request for chunks is answered with busy, and a wish to be asked again in 49 days.
    AbsurdRetry,
    /// It claims to have every file, and then has no list and no chunk.
    HasNothing,
    /// It claims to have every file, gives lists, and then has no chunk.
    HasNoChunks,
    /// A frame of 2^32 − 1 bytes begins, where the first answer should.
    HugeFrame,
    /// The connection closes after so many messages, handshakes not counted, the extension handshake counted.
    DisconnectsAfter {
        /// Messages that are still sent.
        messages: u64,
    },
}

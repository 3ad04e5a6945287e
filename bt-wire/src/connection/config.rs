use std::time::Duration;

use crate::{BufferPool, Limits};

/// How a connection behaves. Begin with `default()` and assign.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionConfig {
    /// What is refused from the peer.
    pub limits: Limits,
    /// Frames up to here are delivered whole, larger ones in parts, bytes without the length prefix. Default
    /// 1 MiB and 66 bytes: whatever the default limits allow.
    pub whole_bytes_max: u32,
    /// Where payloads are read into. Default a pool of 32 MiB of its own; connections can share one.
    pub pool: BufferPool,
    /// Bytes in the control lane above which it takes no more messages. Default 256 KiB.
    pub control_bytes_max: usize,
    /// Bytes in the bulk lane above which it takes no more messages. Default 256 KiB, which is what a fast
    /// connection needs to be kept busy; more would only grow old there.
    pub bulk_bytes_max: usize,
    /// How long both handshakes may take. Default 20 s.
    pub handshake_within: Duration,
    /// How long the peer may be silent. Default 150 s: keep-alives are sent every two minutes.
    pub idle_after: Duration,
    /// How long the peer may take none of what waits for it. Default 60 s.
    pub stalled_after: Duration,
    /// After which silence of ours a keep-alive is sent. Default 90 s, in good time for the two minutes that
    /// peers wait.
    pub keep_alive_every: Duration,
    /// How long a graceful close may take. Default 10 s.
    pub close_within: Duration,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            whole_bytes_max: 1024 * 1024 + 66,
            pool: BufferPool::default(),
            control_bytes_max: 256 * 1024,
            bulk_bytes_max: 256 * 1024,
            handshake_within: Duration::from_secs(20),
            idle_after: Duration::from_secs(150),
            stalled_after: Duration::from_secs(60),
            keep_alive_every: Duration::from_secs(90),
            close_within: Duration::from_secs(10),
        }
    }
}

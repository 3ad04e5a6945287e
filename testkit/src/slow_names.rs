use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinSet};

/// A name server that takes its time: every name is 127.0.0.1, as it says after a pause, or never.
///
/// Resolvers ask port 53, and whom is written in `/etc/resolv.conf`; so it is of use in a namespace of its own.
#[derive(Debug)]
pub struct SlowNames {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl SlowNames {
    /// Listens on this port of 127.0.0.1; 0 takes a free one. Without a pause it never answers.
    ///
    /// # Errors
    ///
    /// If the port cannot be had.
    pub async fn start(port: u16, pause: Option<Duration>) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await?);
        let address = socket.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_all(socket, pause));
        Ok(Self { address, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn answer_all(socket: Arc<UdpSocket>, pause: Option<Duration>) {
    /// Longest question, bytes.
    const QUESTION_BYTES_MAX: usize = 512;
    let (mut answers, mut question) = (JoinSet::new(), [0; QUESTION_BYTES_MAX]);
    loop {
        let Ok((length, from)) = socket.recv_from(&mut question).await else { continue };
        while answers.try_join_next().is_some() {}
        if let (Some(pause), Some(answer)) = (pause, answer(&question[..length])) {
            let socket = Arc::clone(&socket);
            answers.spawn(async move {
                tokio::time::sleep(pause).await;
                drop(socket.send_to(&answer, from).await);
            });
        }
    }
}

/// RFC 1035: the question again, and for an address of version 4 the record behind it.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER_BYTES: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    // Its name is that of the question, which begins at byte 12; class IN, for 60 s, four bytes.
    const RECORD_HEAD: [u8; 12] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    let name_bytes = query.get(HEADER_BYTES..)?.iter().position(|byte| *byte == 0)? + 1;
    let end = HEADER_BYTES + name_bytes + 4;
    let kind = query.get(end - 4..end - 2)?;
    let mut answer = query[..2].to_vec();
    let records = u8::from(kind == TYPE_A);
    // An answer, with recursion; one question and so many records.
    answer.extend([0x81, 0x80, 0, 1, 0, records, 0, 0, 0, 0]);
    answer.extend(&query[HEADER_BYTES..end]);
    if records > 0 {
        answer.extend(RECORD_HEAD);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Some(answer)
}

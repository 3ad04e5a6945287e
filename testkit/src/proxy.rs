use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A proxy on 127.0.0.1 that speaks SOCKS5 and HTTP (`CONNECT`, and requests for absolute URLs). Whatever host it is
/// asked for, it connects to its upstream, so names that do not exist will do. Dropping it ends every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Longest head of a request, bytes.
    const HEAD_BYTES_MAX: usize = 16 << 10;

    /// Listens on a free port of 127.0.0.1 in front of `upstream`.
    ///
    /// # Errors
    ///
    /// If no socket can be had.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, asked) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass(stream, upstream, Arc::clone(&log)));
            }
        });
        Ok(Self { address, asked, _tasks: tasks })
    }

    /// Where it listens: `127.0.0.1:port`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked for, in the order of arrival: the head of a request as it came, or
    /// `SOCKS5 user:password@host:port`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass(mut client: TcpStream, upstream: SocketAddr, log: Arc<Mutex<Vec<String>>>) {
    // A failure ends this connection alone.
    let Ok((asked, answer, forward)) = agree(&mut client).await else { return };
    log.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    if server.write_all(&forward).await.is_ok() && client.write_all(&answer).await.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

/// What the client wants, what it is told, and what the upstream gets of what was read.
async fn agree(client: &mut TcpStream) -> io::Result<(String, Vec<u8>, Vec<u8>)> {
    let mut head = vec![client.read_u8().await?];
    if head[0] == 5 {
        let asked = agree_socks(client).await?;
        return Ok((asked, vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0], Vec::new()));
    }
    while !head.ends_with(b"\r\n\r\n") && head.len() < Proxy::HEAD_BYTES_MAX {
        head.push(client.read_u8().await?);
    }
    let asked = String::from_utf8_lossy(&head).into_owned();
    if asked.starts_with("CONNECT ") {
        return Ok((asked, b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Vec::new()));
    }
    Ok((asked, Vec::new(), head))
}

/// RFC 1928 and RFC 1929, behind the version.
async fn agree_socks(client: &mut TcpStream) -> io::Result<String> {
    let methods = counted(client).await?;
    let mut credentials = String::new();
    if methods.contains(&2) {
        client.write_all(&[5, 2]).await?;
        client.read_u8().await?;
        let (user, password) = (counted(client).await?, counted(client).await?);
        credentials = format!("{}:{}@", String::from_utf8_lossy(&user), String::from_utf8_lossy(&password));
        client.write_all(&[1, 0]).await?;
    } else {
        client.write_all(&[5, 0]).await?;
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        3 => String::from_utf8_lossy(&counted(client).await?).into_owned(),
        _ => std::net::Ipv6Addr::from(client.read_u128().await?).to_string(),
    };
    Ok(format!("SOCKS5 {credentials}{host}:{}", client.read_u16().await?))
}

async fn counted(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

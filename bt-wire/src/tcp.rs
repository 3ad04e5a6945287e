use std::io;
#[cfg(unix)]
use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket;

/// Bytes of which [`limit_unsent`] is to be told usually: enough to keep a fast connection busy, and so little
/// that a control message is not long on its way.
pub const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

/// Limits how many bytes the system takes for a socket beyond what it can send at once (`TCP_NOTSENT_LOWAT`).
/// What waits in the lanes of a [`Connection`](crate::Connection) can be overtaken, what waits in the system
/// cannot. Where there is no such option, nothing is done.
///
/// # Errors
/// The system refuses.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let stream = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
/// stream.set_nodelay(true)?;
/// bt_wire::limit_unsent(&stream, bt_wire::NOTSENT_LOWAT_BYTES)?;
/// # Ok(())
/// # }
/// ```
pub fn limit_unsent(stream: &impl AsSocket, bytes: u32) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes)?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (stream, bytes);
    Ok(())
}

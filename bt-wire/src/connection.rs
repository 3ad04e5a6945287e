//! A connection over any stream. What it remembers is in [`core`], [`lanes`] and [`inbox`], which know neither
//! stream nor clock; here both are joined to them.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::io::poll_read_buf;

use crate::{Error, Handshake, HandshakeStage, HandshakeStart, Limits, Message};

mod close_reason;
pub use close_reason::CloseReason;

mod config;
pub use config::ConnectionConfig;

mod core;
use self::core::Core;

mod event;
pub use event::{Counters, Event};

mod inbox;
use inbox::Inbox;

mod lanes;
pub use lanes::{Lane, LaneFull};
use lanes::{PushError, SLICES_MAX};

/// Events that are returned in a row before what waits is written, unless there is nothing to read before.
const EVENTS_BEFORE_WRITE_MAX: u32 = 64;
/// Room for what comes while the connection is being closed, and is thrown away.
const DISCARD_BYTES: usize = 4 * 1024;

/// Messages in both directions over a stream: a TCP or Unix socket, a pipe, a stream of a cipher.
///
/// One task owns it and calls [`next`](Self::next) over and over, which reads, writes what
/// [`send`](Self::send) has put into the two lanes, keeps the connection alive and watches its deadlines.
/// Reading never waits for writing, nor writing for reading.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    core: Core,
    inbox: Inbox,
    /// What is written between payloads.
    scratch: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    events_since_write: u32,
    /// Something was written that the stream may hold back.
    unflushed: bool,
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Shakes hands with a peer that we have connected to.
    ///
    /// # Errors
    /// Why that did not succeed; the stream is dropped then.
    pub async fn connect(
        stream: S,
        ours: Handshake,
        config: ConnectionConfig,
    ) -> Result<(Self, Handshake), CloseReason> {
        let mut connection = Self::new(stream, config, true);
        connection.core.send_handshake(&ours, now());
        let is_same = |theirs: HandshakeStart| theirs.info_hash == ours.info_hash;
        let answer = |_: &mut Core, theirs| if is_same(theirs) { Ok(()) } else { Err(CloseReason::OtherSwarm) };
        let theirs = connection.shake_hands(answer).await?;
        check_not_ourselves(&ours, &theirs)?;
        Ok((connection, theirs))
    }

    /// Shakes hands with a peer that has connected to us. As soon as its swarm is known, which is before it has
    /// told its peer id, `answer` says what to answer; `None` turns it away.
    ///
    /// # Errors
    /// Why that did not succeed; the stream is dropped then.
    pub async fn accept(
        stream: S,
        config: ConnectionConfig,
        answer: impl FnOnce(&HandshakeStart) -> Option<Handshake>,
    ) -> Result<(Self, Handshake), CloseReason> {
        let mut connection = Self::new(stream, config, true);
        let (mut answer, mut ours) = (Some(answer), None);
        let send_answer = |core: &mut Core, theirs| {
            ours = answer.take().and_then(|answer| answer(&theirs));
            core.send_handshake(ours.as_ref().ok_or(CloseReason::TurnedAway)?, now());
            Ok(())
        };
        let theirs = connection.shake_hands(send_answer).await?;
        if let Some(ours) = ours {
            check_not_ourselves(&ours, &theirs)?;
        }
        Ok((connection, theirs))
    }

    /// A connection on which the handshakes are done. `read_ahead` is what was read behind the peer's.
    pub fn established(stream: S, read_ahead: &[u8], config: ConnectionConfig) -> Self {
        let mut connection = Self::new(stream, config, false);
        connection.inbox.extend(read_ahead);
        connection
    }

    fn new(stream: S, config: ConnectionConfig, shakes_hands: bool) -> Self {
        let core = Core::new(&config, shakes_hands, now());
        Self {
            stream,
            timer: Box::pin(tokio::time::sleep_until(core.poll_timeout().into())),
            core,
            inbox: Inbox::new(config.limits, config.whole_bytes_max, config.pool, shakes_hands),
            scratch: Vec::new(),
            events_since_write: 0,
            unflushed: false,
            closed: false,
        }
    }

    /// Puts a message into a lane, from where [`next`](Self::next) writes it. Lanes are bounded.
    ///
    /// # Errors
    /// The lane is full, in which case it tells ([`Event::Room`]) when it is no more, and the message comes
    /// back; or [`Error::Unframeable`], and it is lost.
    pub fn send(&mut self, lane: Lane, message: Message) -> Result<(), SendError> {
        self.core.send(lane, message, now).map_err(|error| match error {
            PushError::Full(full) => SendError::Full(full),
            PushError::Unframeable(error) => SendError::Unframeable(error),
        })
    }

    /// Whether a lane would take a message.
    pub fn has_room(&self, lane: Lane) -> bool {
        self.core.lanes.has_room(lane)
    }

    /// Bytes that wait to be written.
    pub fn unsent(&self) -> usize {
        self.core.lanes.bytes()
    }

    /// What is refused from the peer.
    pub fn limits(&self) -> &Limits {
        &self.inbox.limits
    }

    /// Changes what is refused, from the next frame on that has not come as a whole.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.inbox.limits
    }

    /// What has passed over it.
    pub fn counters(&self) -> Counters {
        Counters { messages_received: self.inbox.messages, bytes_moved: self.inbox.moved, ..self.core.counters }
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Waits for what happens next, writing meanwhile.
    ///
    /// # Errors
    /// The connection is over, and why. What was queued and not written is lost.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Event, CloseReason> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for those who poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, CloseReason>> {
        if self.closed {
            return Poll::Ready(Err(CloseReason::Closed));
        }
        let event = ready!(self.poll_open(cx));
        self.closed = event.is_err();
        Poll::Ready(event)
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, CloseReason>> {
        if self.events_since_write >= EVENTS_BEFORE_WRITE_MAX {
            let _ = self.poll_write(cx)?;
        }
        loop {
            let pool_is_dry = match self.inbox.poll_event(cx)? {
                Poll::Ready(Some(event)) => {
                    self.events_since_write += 1;
                    return Poll::Ready(Ok(event));
                }
                Poll::Ready(None) => false,
                Poll::Pending => true,
            };
            let _ = self.poll_write(cx)?;
            if let Some(lane) = self.core.lanes.poll_room() {
                return Poll::Ready(Ok(Event::Room(lane)));
            }
            self.core.set_reading(!pool_is_dry, now);
            if !pool_is_dry && self.poll_read(cx)?.is_ready() {
                continue;
            }
            ready!(self.poll_timer(cx))?;
        }
    }

    /// Reads once. `Ready` if there is something new.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, CloseReason> {
        let Poll::Ready(read) = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.inbox.unfilled()) else {
            self.inbox.rest();
            return Ok(Poll::Pending);
        };
        let bytes = read.map_err(CloseReason::Io)?;
        if bytes == 0 {
            return Err(match self.inbox.inside() {
                Some((what, bytes)) => Error::Ended { what, bytes }.into(),
                None => CloseReason::ByPeer,
            });
        }
        self.core.handle_read(bytes, now());
        Ok(Poll::Ready(()))
    }

    /// Writes as much as the stream takes. `Ready` if nothing is left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, CloseReason> {
        self.events_since_write = 0;
        while !self.core.lanes.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = self.core.lanes.slices(&mut self.scratch, &mut slices);
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..used]) else {
                return Ok(Poll::Pending);
            };
            let written = written.map_err(CloseReason::Io)?;
            if written == 0 {
                return Err(CloseReason::Io(std::io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.core.handle_written(written, now());
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed.map_err(CloseReason::Io)?;
            self.unflushed = false;
        }
        Ok(if self.unflushed { Poll::Pending } else { Poll::Ready(()) })
    }

    /// Waits for the next deadline. `Ready` after what was due is done.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        let due = self.core.poll_timeout();
        // Deadlines move on with every message; the timer follows when it fires.
        if self.timer.deadline().into_std() > due {
            self.timer.as_mut().reset(due.into());
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = now();
            if now >= due {
                return Poll::Ready(self.core.handle_timeout(now));
            }
            self.timer.as_mut().reset(due.into());
        }
    }

    /// Both handshakes: `answer` is told the first part of the peer's, and ours is written when this ends.
    async fn shake_hands(
        &mut self,
        mut answer: impl FnMut(&mut Core, HandshakeStart) -> Result<(), CloseReason>,
    ) -> Result<Handshake, CloseReason> {
        let mut theirs = None;
        poll_fn(|cx| {
            loop {
                match self.inbox.poll_handshake()? {
                    Some(HandshakeStage::Start(start)) => {
                        answer(&mut self.core, start)?;
                        continue;
                    }
                    Some(HandshakeStage::Complete(handshake)) => theirs = Some(handshake),
                    None => {}
                }
                let written = self.poll_write(cx)?;
                match theirs {
                    Some(theirs) if written.is_ready() => {
                        self.core.open();
                        return Poll::Ready(Ok(theirs));
                    }
                    None if self.poll_read(cx)?.is_ready() => {}
                    _ => ready!(self.poll_timer(cx))?,
                }
            }
        })
        .await
    }

    /// Closes gracefully: writes what waits, ends our side of the stream, then waits for the end of the peer's,
    /// so that nothing that was sent is lost to a reset. What comes meanwhile is thrown away.
    ///
    /// # Errors
    /// It did not succeed in time, or the stream failed; what was not written is lost.
    ///
    /// # Cancel safety
    /// None: dropping the future closes at once.
    pub async fn close(mut self) -> Result<Counters, CloseReason> {
        if self.closed {
            return Err(CloseReason::Closed);
        }
        self.core.close(now());
        poll_fn(|cx| self.poll_close(cx)).await?;
        Ok(self.counters())
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        loop {
            let written = self.poll_write(cx)?.is_ready();
            let ended = written && Pin::new(&mut self.stream).poll_shutdown(cx).map_err(CloseReason::Io)?.is_ready();
            let mut discarded = [0; DISCARD_BYTES];
            let mut read = ReadBuf::new(&mut discarded);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.core.handle_read(read.filled().len(), now());
                    continue;
                }
                // It has gone, having taken all.
                Poll::Ready(_) if ended => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(CloseReason::Io(error))),
                // It may take what waits all the same.
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            ready!(self.poll_timer(cx))?;
        }
    }

    /// Closes at once: what was not written is lost. Dropping the connection does the same.
    pub fn abort(self) -> Counters {
        self.counters()
    }
}

/// Why a message is not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Its lane is full.
    #[error(transparent)]
    Full(LaneFull),
    /// It cannot be framed.
    #[error(transparent)]
    Unframeable(Error),
}

fn check_not_ourselves(ours: &Handshake, theirs: &Handshake) -> Result<(), CloseReason> {
    if ours.peer_id == theirs.peer_id { Err(CloseReason::Ourselves) } else { Ok(()) }
}

/// The clock of the connection: tokio's, so that tests can hold it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

use std::collections::VecDeque;

use bt_wire::{Block, CloseReason, InfoHash, Limits, Message, MetadataCollector, MetadataMessage, UT_METADATA};
use serde_json::json;

use crate::session::{Received, Session};
use crate::torrent::Info;
use crate::{Failure, report};

const BLOCK_BYTES: u32 = 16 * 1024;
/// Requests that are not answered yet; fewer than any program's `reqq`.
const REQUESTS_MAX: usize = 50;

/// Gets metadata and content from a peer that has both, checks them, and closes.
pub(crate) async fn fetch(mut session: Session) -> Result<(), Failure> {
    session.control(Message::HaveNone);
    let info_hash = session.info_hash();
    let metadata = fetch_metadata(&mut session, &info_hash).await?;
    let info = Info::read(&metadata)?;
    report(json!({"event": "metadata", "bytes": metadata.len(), "pieces": info.pieces.count()}));

    session.learn_pieces(info.pieces)?;
    let content = fetch_content(&mut session, &info).await?;
    info.check(&content)?;
    session.report_allowed_fast(info.pieces.count())?;
    let counters = session.close().await?;
    report(json!({
        "event": "fetched", "bytes": content.len(), "messages": counters.messages_received,
        "wire_bytes": counters.bytes_received,
    }));
    Ok(())
}

async fn fetch_metadata(session: &mut Session, info_hash: &InfoHash) -> Result<Vec<u8>, CloseReason> {
    let mut collector = None;
    loop {
        match session.next().await? {
            Received::Handshake(theirs) if collector.is_none() => {
                let started = MetadataCollector::new(theirs.metadata_size.unwrap_or(0), &Limits::default())?;
                for piece in started.missing() {
                    let request = MetadataMessage::Request { piece }.encode();
                    if let Some(message) = session.frame(UT_METADATA, request) {
                        session.control(message);
                    }
                }
                collector = Some(started);
            }
            Received::Metadata(MetadataMessage::Data { piece, total_size, data }) => {
                if let Some(mut begun) = collector.take() {
                    if begun.handle_data(piece, total_size, &data)? {
                        return Ok(begun.finish(info_hash)?);
                    }
                    collector = Some(begun);
                }
            }
            _ => {}
        }
    }
}

async fn fetch_content(session: &mut Session, info: &Info) -> Result<Vec<u8>, CloseReason> {
    let mut content = vec![0; info.content_bytes];
    let mut left = content.len();
    let mut wanted: VecDeque<Block> = (0..info.pieces.count())
        .flat_map(|piece| {
            let piece_bytes = info.pieces.bytes_of(piece).unwrap_or_default();
            let begins = (0..piece_bytes).step_by(BLOCK_BYTES as usize);
            begins.map(move |begin| Block { piece, begin, length: BLOCK_BYTES.min(piece_bytes - begin) })
        })
        .collect();
    session.control(Message::Interested);
    while left > 0 {
        while session.state.requests() < REQUESTS_MAX {
            let Some(at) = wanted.iter().position(|block| session.state.may_request(block.piece)) else { break };
            let Some(block) = wanted.remove(at) else { break };
            session.control(Message::Request(block));
        }
        match session.next().await? {
            Received::Message(Message::Piece { piece, begin, data }) => {
                let at = info.offset(&Block { piece, begin, length: 0 });
                content[at..at + data.len()].copy_from_slice(&data);
                left -= data.len();
            }
            Received::Message(Message::RejectRequest(block)) => wanted.push_back(block),
            _ => {}
        }
    }
    Ok(content)
}

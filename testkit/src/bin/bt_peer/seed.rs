use std::collections::VecDeque;

use bt_wire::{Block, Message, MetadataMessage, UT_METADATA};
use serde_json::json;

use crate::session::{Received, Session};
use crate::torrent::Torrent;
use crate::{Failure, report};

/// Answers requests for metadata and content until the peer goes.
pub(crate) async fn seed(mut session: Session, torrent: &Torrent) -> Result<(), Failure> {
    session.learn_pieces(torrent.info.pieces)?;
    session.control(Message::HaveAll);
    // As many as the state lets a peer ask for.
    let mut waiting = VecDeque::new();
    let mut sent_bytes = 0;
    loop {
        match session.next().await? {
            Received::Message(Message::Interested) => session.control(Message::Unchoke),
            Received::Message(Message::Request(block)) => waiting.push_back(block),
            Received::Metadata(MetadataMessage::Request { piece }) => send_metadata(&mut session, torrent, piece),
            _ => {}
        }
        while let Some(block) = waiting.pop_front() {
            let at = torrent.info.offset(&block);
            let data = torrent.content.slice(at..at + block.length as usize);
            let Block { piece, begin, length } = block;
            if !session.bulk(Message::Piece { piece, begin, data }) {
                waiting.push_front(block);
                break;
            }
            sent_bytes += u64::from(length);
            if sent_bytes == torrent.content.len() as u64 {
                report(json!({"event": "seeded", "bytes": sent_bytes}));
            }
        }
    }
}

fn send_metadata(session: &mut Session, torrent: &Torrent, piece: u32) {
    let mut send = |answer: MetadataMessage| match session.frame(UT_METADATA, answer.encode()) {
        Some(message) => session.bulk(message),
        None => true,
    };
    // Who asks for more than the lane holds is not kept waiting in another queue.
    let is_sent = send(MetadataMessage::answer(&torrent.metadata, piece)) || !send(MetadataMessage::Reject { piece });
    report(json!({"event": "metadata_asked", "metadata_piece": piece, "is_sent": is_sent}));
}

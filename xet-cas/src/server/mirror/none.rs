//! Built without a client: there is nothing that could be asked.

use std::sync::Arc;

use super::{Place, Source};
use crate::FileHash;

use crate::server::refusal::Refusal;
use crate::server::store::{RepoKey, Store};
use crate::server::workers::Workers;
use crate::server::{Error, config};

/// There is none.
pub(super) enum Live {}

impl Live {
    pub(super) fn new(_: &config::Mirror, _: &Arc<Store>, _: &Workers) -> Result<Self, Error> {
        Err(Error::Mirror { reason: "this program was built without the feature `client`".into() })
    }

    pub(super) async fn look_up(&self, _: &RepoKey, _: &str) -> Result<(), Refusal> {
        match *self {}
    }

    pub(super) async fn meet(&self, _: &RepoKey, _: bool) -> Result<(), Refusal> {
        match *self {}
    }

    pub(super) fn note(&self, _: &RepoKey, _: &str) {
        match *self {}
    }

    pub(super) async fn source(&self, _: Place) -> Result<Option<Source>, Refusal> {
        match *self {}
    }

    pub(super) async fn source_of(&self, _: &RepoKey, _: FileHash) -> Result<Option<Source>, Refusal> {
        match *self {}
    }

    pub(super) async fn stop(&self) {
        match *self {}
    }

    pub(super) fn abort(&self) {
        match *self {}
    }
}

//! `[bucket]`: an S3-compatible store for the bytes. Taken by a `zest` with the feature `s3` alone.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use xet_cas::server::Config;

use super::Source;
use crate::commands::origin::read_token;
use crate::failure::Failure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBucket {
    name: String,
    #[serde(default)]
    prefix: String,
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: String,
    secret_access_key_file: PathBuf,
}

#[cfg(feature = "s3")]
pub(super) type Bucket = xet_cas::server::Bucket;

/// There can be none.
#[cfg(not(feature = "s3"))]
pub(super) type Bucket = std::convert::Infallible;

#[cfg(feature = "s3")]
pub(super) fn bucket(
    raw: &RawBucket,
    _source: &Source<'_>,
    beside: impl Fn(&Path) -> PathBuf,
) -> Result<Bucket, Failure> {
    let secret = read_token(&beside(&raw.secret_access_key_file))?;
    let mut bucket = Bucket::new(&raw.name, &raw.access_key_id, secret.expose());
    bucket.prefix.clone_from(&raw.prefix);
    bucket.endpoint.clone_from(&raw.endpoint);
    if let Some(region) = &raw.region {
        bucket.region.clone_from(region);
    }
    bucket.network = crate::settings::Settings::read().network()?;
    Ok(bucket)
}

#[cfg(not(feature = "s3"))]
pub(super) fn bucket(
    raw: &RawBucket,
    source: &Source<'_>,
    beside: impl Fn(&Path) -> PathBuf,
) -> Result<Bucket, Failure> {
    let RawBucket { name, prefix, endpoint, region, access_key_id, secret_access_key_file } = raw;
    read_token(&beside(secret_access_key_file))?;
    tracing::debug!(name, prefix, ?endpoint, ?region, access_key_id, "a bucket that cannot be used");
    let failure = source.wrong(None, "bucket", "this zest was built without S3");
    Err(failure.hint("build it with the feature: cargo install --path zest-cli --features s3"))
}

#[cfg(feature = "s3")]
pub(super) fn fill(bucket: Option<Bucket>, config: &mut Config) {
    config.bucket = bucket;
}

#[cfg(not(feature = "s3"))]
pub(super) fn fill(bucket: Option<Bucket>, _config: &mut Config) {
    match bucket {
        None => {}
        Some(never) => match never {},
    }
}

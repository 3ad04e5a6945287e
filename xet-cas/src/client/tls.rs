//! Whom to trust: the authorities of the system, and those that the user names.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::{Error, Network};

/// Authorities in one set at most, far more than any system has.
const CA_CERTIFICATES_MAX: usize = 10_000;

/// Certificates of authorities.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CaCertificates(Vec<CertificateDer<'static>>);

impl CaCertificates {
    /// Reads certificates in PEM form, one after the other. What else the text holds is passed over, and so are
    /// certificates that cannot be used.
    ///
    /// # Errors
    /// [`Error::CaCertificates`] if none can be used, or the PEM form of one is broken.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let unusable = |reason: String| Error::CaCertificates { reason };
        let certificates = CertificateDer::pem_slice_iter(pem).take(CA_CERTIFICATES_MAX + 1);
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("there is none in PEM form".to_owned()));
        }
        if certificates.len() > CA_CERTIFICATES_MAX {
            return Err(unusable(format!("there are more than {CA_CERTIFICATES_MAX}")));
        }
        // As the bundles of systems, which name one now and then that cannot be used.
        let is_usable = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
        let (usable, unusable_ones): (Vec<_>, Vec<_>) = certificates.into_iter().partition(is_usable);
        if usable.is_empty() {
            return Err(unusable("none of them can be used".to_owned()));
        }
        if !unusable_ones.is_empty() {
            tracing::warn!(
                count = unusable_ones.len(),
                "certificates of authorities cannot be used and are passed over"
            );
        }
        Ok(Self(usable))
    }
}

impl fmt::Debug for CaCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaCertificates({})", self.0.len())
    }
}

/// TLS with the ring provider, without touching process-wide state.
pub(super) fn tls(network: &Network) -> Result<ClientConfig, Error> {
    let unusable = |error: rustls::Error| Error::CaCertificates { reason: error.to_string() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(network, provider.clone()).map_err(unusable)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

fn verifier(network: &Network, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let CaCertificates(named) = network.ca_certificates.clone();
    if network.system_certificates {
        return Ok(Arc::new(Verifier::new_with_extra_roots(named, provider)?));
    }
    let mut roots = RootCertStore::empty();
    named.into_iter().try_for_each(|certificate| roots.add(certificate))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
    Ok(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
}

/// What is wrong with the server's certificate, if that is why a request failed.
pub(super) fn certificate_trouble(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref::<rustls::Error>() {
        return Some(reason.to_string());
    }
    // What an I/O error wraps is not among its sources, only what that wraps.
    if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
        && let Some(trouble) = certificate_trouble(inner)
    {
        return Some(trouble);
    }
    certificate_trouble(error.source()?)
}

#[cfg(test)]
mod tests {
    use super::CaCertificates;

    #[test]
    fn given_no_certificate_when_read_then_refused() {
        let block = |base64: &str| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        for pem in [String::new(), "not PEM".to_owned(), block("!"), block("AAAA")] {
            assert!(CaCertificates::from_pem(pem.as_bytes()).is_err(), "{pem:?}");
        }
    }
}

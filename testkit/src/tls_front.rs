use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// TLS on 127.0.0.1 before a plain upstream, with a certificate for `127.0.0.1` and the names it was given, of an
/// authority that nobody knows. Dropping it ends every connection.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    authority: String,
    _tasks: JoinSet<()>,
}

impl TlsFront {
    /// Listens on a free port of 127.0.0.1 in front of `upstream`.
    ///
    /// # Errors
    ///
    /// If no socket can be had, or no certificate made.
    pub async fn start(upstream: SocketAddr, names: &[&str]) -> io::Result<Self> {
        let (authority, config) = certified(names).map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass(acceptor.clone(), stream, upstream));
            }
        });
        Ok(Self { address, authority, _tasks: tasks })
    }

    /// Base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Certificate of the authority, in PEM form.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

async fn pass(acceptor: TlsAcceptor, stream: TcpStream, upstream: SocketAddr) {
    // A failure ends this connection alone: the client may not trust us.
    if let (Ok(mut client), Ok(mut server)) = (acceptor.accept(stream).await, TcpStream::connect(upstream).await) {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn certified(names: &[&str]) -> Result<(String, ServerConfig), BoxError> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names: Vec<String> = ["127.0.0.1"].iter().chain(names).map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((authority.pem(), config))
}

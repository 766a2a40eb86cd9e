//! TLS without verification, as health checks want it.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::Failure;
use crate::spec::Connection;

/// Reads of a handshake in one turn, after which other probes have theirs.
const READS: usize = 16;

/// Settings of all TLS checkers, made once.
#[derive(Clone)]
pub(crate) struct Client {
    with_sni: Arc<ClientConfig>,
    without_sni: Arc<ClientConfig>,
}

impl Client {
    /// Every version and cipher suite that rustls has; no verification, no resumption, so that
    /// each check does what a new client does.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let with_sni = Arc::new(config.clone());
        config.enable_sni = false;
        Ok(Self { with_sni, without_sni: Arc::new(config) })
    }

    /// A session that is about to begin. `sni` is the name to send; none is sent where it is no name.
    ///
    /// # Errors
    /// When rustls cannot begin with this name.
    pub(crate) fn session(
        &self,
        to: &Connection,
        sni: Option<&str>,
    ) -> Result<Box<Session>, Failure> {
        let name = sni.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let (config, name) = match name {
            Some(name @ ServerName::DnsName(_)) => (&self.with_sni, name),
            _ => (&self.without_sni, ServerName::IpAddress(to.to.ip().into())),
        };
        let mut tls =
            ClientConnection::new(config.clone(), name).map_err(|error| failure(&error))?;
        tls.set_buffer_limit(None); // it holds one request
        Ok(Box::new(Session { tls, decrypted: 0 }))
    }
}

/// A TLS session over a wire that is given with each call. It ends where its connection ends: many
/// servers leave close_notify out.
#[derive(Debug)]
pub(crate) struct Session {
    tls: ClientConnection,
    /// Octets that have been decrypted and not read.
    decrypted: usize,
}

/// Why a session cannot go on: a wire that is not ready among others.
#[derive(Debug)]
pub(crate) enum Stop {
    Io(io::Error),
    Tls(rustls::Error),
}

impl Session {
    /// Does what can be done of the handshake; a success is its end.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] while it goes on.
    pub(crate) fn handshake(&mut self, wire: &mut (impl Read + Write)) -> Result<(), Stop> {
        for _ in 0..READS {
            if !self.tls.is_handshaking() {
                return Ok(()); // what is left to send goes with the request
            }
            self.flush(wire).map_err(Stop::Io)?;
            self.receive(wire)?;
        }
        Err(Stop::Io(ErrorKind::WouldBlock.into()))
    }

    /// Whether the next move is to write.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Whether there is more to read without asking the wire.
    pub(crate) fn has_decrypted(&self) -> bool {
        self.decrypted > 0
    }

    /// Takes octets to be sent by the flushes that follow.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(octets)
    }

    /// Sends all that is to be sent.
    pub(crate) fn flush(&mut self, wire: &mut impl Write) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(wire)?;
        }
        Ok(())
    }

    /// Reads what has been decrypted, and before that asks the wire once if there is nothing.
    pub(crate) fn read(
        &mut self,
        wire: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> Result<usize, Stop> {
        match self.take_decrypted(buffer) {
            Err(Stop::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            other => return other,
        }
        self.receive(wire)?;
        match self.flush(wire) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(Stop::Io(error)),
            _ => self.take_decrypted(buffer),
        }
    }

    /// Says goodbye, as far as the wire takes it at once.
    pub(crate) fn close(&mut self, wire: &mut impl Write) {
        self.tls.send_close_notify();
        let _ = self.flush(wire); // the verdict stands however it ends
    }

    fn take_decrypted(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        match self.tls.reader().read(buffer) {
            Ok(read) => {
                self.decrypted = self.decrypted.saturating_sub(read);
                Ok(read)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(Stop::Io(error)),
        }
    }

    fn receive(&mut self, wire: &mut impl Read) -> Result<(), Stop> {
        let read = self.tls.read_tls(wire).map_err(Stop::Io)?;
        let state = self.tls.process_new_packets().map_err(Stop::Tls)?;
        self.decrypted = state.plaintext_bytes_to_read();
        if read == 0 && self.tls.is_handshaking() {
            return Err(Stop::Io(ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

/// What an error of TLS says about its server.
pub(crate) fn failure(error: &rustls::Error) -> Failure {
    Failure::Tls(error.to_string())
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

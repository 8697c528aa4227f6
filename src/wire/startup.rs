//! From an accepted socket to a session: encryption asked for, cancel requests, the startup
//! message, the greeting.
//!
//! Before login a packet has no type byte, so its first eight bytes decide what it is. Exactly
//! these are read from the raw socket and nothing behind them: bytes that a client (or someone in
//! between) sends after an SSLRequest must not end up inside an encrypted session. Encryption
//! itself is answered `N`, not offered.

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey, Startup as Packet,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::cancel::{Registry, Ticket};
use super::messages::utf8;
use super::report;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::session::{SideMessage, Startup};

/// What a new socket wanted.
pub(super) enum SocketRequest {
    /// A session.
    Session(Startup),
    /// Nothing more: it went away, or was a cancel request, which is never answered.
    Nothing,
}

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// Reads packets until it is clear what the client wants. Errors are for the client, and final.
pub(super) async fn handshake(
    socket: &mut TcpStream,
    registry: &Registry,
) -> Result<SocketRequest> {
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let mut head = [0; 8];
        if socket.read_exact(&mut head).await.is_err() {
            return Ok(SocketRequest::Nothing);
        }
        let [a, b, c, d, e, f, g, h] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let code = u32::from_be_bytes([e, f, g, h]);
        if !(8..=limits::STARTUP_BYTES).contains(&length) {
            return Err(violation("invalid length of startup packet"));
        }
        let refusal = match code {
            SSL if length == 8 && !std::mem::replace(&mut ssl_asked, true) => {
                Reply::SslResponse(SslResponse::Refuse)
            }
            GSS if length == 8 && !std::mem::replace(&mut gss_asked, true) => {
                Reply::GssEncResponse(GssEncResponse::Refuse)
            }
            SSL | GSS => {
                return Err(violation("invalid startup packet layout: encryption asked for twice"));
            }
            _ => {
                let mut rest = vec![0; length - 8];
                if socket.read_exact(&mut rest).await.is_err() {
                    return Ok(SocketRequest::Nothing);
                }
                return understand(code, Bytes::from(rest), socket, registry).await;
            }
        };
        send(socket, &[refusal]).await?;
    }
}

async fn understand(
    code: u32,
    mut rest: Bytes,
    socket: &mut TcpStream,
    registry: &Registry,
) -> Result<SocketRequest> {
    if code == CANCEL {
        if rest.len() == 8 {
            registry.cancel(rest.get_i32(), rest.get_i32());
        }
        return Ok(SocketRequest::Nothing);
    }
    let (major, minor) = (code >> 16, code & 0xffff);
    if major != 3 {
        let message =
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
        return Err(Error::new(SqlState::NotSupported, message));
    }
    let parameters = parameters(&rest)?;
    let (extensions, parameters): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(name, _)| name.starts_with("_pq_."));
    if minor > 0 || !extensions.is_empty() {
        let unknown = extensions.into_iter().map(|(name, _)| name).collect();
        let newest = NegotiateProtocolVersion::new(Packet::PROTOCOL_VERSION_3_0, unknown);
        send(socket, &[Reply::NegotiateProtocolVersion(newest)]).await?;
    }
    startup(parameters).map(SocketRequest::Session)
}

/// Pairs of zero-terminated strings, ended by an empty name.
fn parameters(mut bytes: &[u8]) -> Result<Vec<(String, String)>> {
    let broken = || violation("invalid startup packet layout: expected terminator as last byte");
    let mut text = || {
        let end = bytes.iter().position(|&byte| byte == 0).ok_or_else(broken)?;
        let text = utf8(&bytes[..end])?.to_owned();
        bytes = &bytes[end + 1..];
        Ok::<_, Error>((text, bytes.is_empty()))
    };
    let mut pairs = Vec::new();
    loop {
        match text()? {
            (name, true) if name.is_empty() => return Ok(pairs),
            (name, false) if !name.is_empty() => pairs.push((name, text()?.0)),
            _ => return Err(broken()),
        }
    }
}

fn startup(parameters: Vec<(String, String)>) -> Result<Startup> {
    let mut startup = Startup::default();
    for (name, value) in parameters {
        match name.as_str() {
            "user" => startup.user = value,
            "database" => startup.database = value,
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => {
                return Err(Error::unsupported("replication connections are not supported")
                    .hint("Use SUBSCRIBE to follow a view."));
            }
            "options" => startup.settings.extend(options(&value)?),
            _ => startup.settings.push((name, value)),
        }
    }
    if startup.user.is_empty() {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(Error::new(SqlState::BadAuthorization, message));
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    Ok(startup)
}

/// Takes `-c name=value`, `-cname=value` and `--name=value` apart; a backslash keeps the next
/// character as it is.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let refused = |word: &str| {
            Error::new(
                SqlState::Syntax,
                format!("invalid command-line argument for server process: {word}"),
            )
            .hint("Write settings as -c name=value.")
        };
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => setting.to_owned(),
            (None, Some("")) => words.next().ok_or_else(|| refused(&word))?,
            (None, Some(setting)) => setting.to_owned(),
            (None, None) => return Err(refused(&word)),
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| refused(&setting))?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => word.get_or_insert_default().extend(chars.next()),
            char if char.is_ascii_whitespace() => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// What a client is told when it is in: who it is, how values are written, how to cancel.
pub(super) fn welcome(
    startup: &Startup,
    time_zone: &str,
    ticket: &Ticket,
    said: &[SideMessage],
    out: &mut BytesMut,
) -> Result<()> {
    let version = format!("15.0 (Tidemill {})", env!("CARGO_PKG_VERSION"));
    let name = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("application_name");
    let application = startup.settings.iter().rev().find(name).map_or("", |(_, value)| value);
    report::put(&Reply::Authentication(Authentication::Ok), out)?;
    for (name, value) in [
        ("server_version", version.as_str()),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("application_name", application),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", time_zone),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
        ("session_authorization", &startup.user),
        ("in_hot_standby", "off"),
        ("default_transaction_read_only", "off"),
    ] {
        report::put(&report::parameter(name, value), out)?;
    }
    for message in said {
        report::put(&report::side(message), out)?;
    }
    let key = BackendKeyData::new(ticket.id, SecretKey::I32(ticket.secret));
    report::put(&Reply::BackendKeyData(key), out)
}

async fn send(socket: &mut TcpStream, replies: &[Reply]) -> Result<()> {
    let mut out = BytesMut::new();
    for reply in replies {
        report::put(reply, &mut out)?;
    }
    Ok(socket.write_all(&out).await?)
}

fn violation(message: &str) -> Error {
    Error::new(SqlState::ProtocolViolation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart_into_settings() {
        let check = |text: &str, expect: &[(&str, &str)]| {
            let got = options(text).unwrap();
            let got: Vec<_> =
                got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(got, expect, "{text}");
        };
        check("", &[]);
        check("-c statement_timeout=5s", &[("statement_timeout", "5s")]);
        check(
            "  -cTimeZone=UTC --search-path=a,b ",
            &[("TimeZone", "UTC"), ("search_path", "a,b")],
        );
        check(r"-c application_name=two\ words\\", &[("application_name", r"two words\")]);
        for refused in ["-d 5", "-c", "-c x", "x=y"] {
            assert_eq!(options(refused).unwrap_err().state(), SqlState::Syntax, "{refused}");
        }
    }

    #[test]
    fn a_startup_packet_needs_its_terminators_and_a_user() {
        let check = |bytes: &[u8], code: &str| {
            let got = parameters(bytes).and_then(startup).err().map(|error| error.state().code());
            assert_eq!(got.unwrap_or("ok"), code, "{bytes:?}");
        };
        check(b"user\0me\0\0", "ok");
        check(b"user\0me\0", "08P01");
        check(b"user\0me", "08P01");
        check(b"user\0me\0\0x", "08P01");
        check(b"\0", "28000");
        check(b"user\0me\0replication\0true\0\0", "0A000");
        check(b"user\0\xff\0\0", "22021");
    }
}

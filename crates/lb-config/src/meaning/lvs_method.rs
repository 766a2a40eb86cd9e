//! `lvs_method` of a virtual server and of a real one.

use super::Context;
use super::lvs::{Real, Server};
use super::table::{Keyword, Table, Takes};
use crate::model::{LvsMethod, TunnelChecksum};
use crate::syntax::Line;

pub(super) fn server_method(server: &mut Server, context: &mut Context<'_>, line: &Line) {
    server.method = method(context, line, server.method).or(server.method);
}

pub(super) fn real_method(real: &mut Real, context: &mut Context<'_>, line: &Line) {
    real.method = method(context, line, real.method).or(real.method);
}

/// Options of `TUN` as far as they are read.
#[derive(Default)]
pub(super) struct Tunnel {
    kind: Option<String>,
    port: Option<u16>,
    checksum: Option<TunnelChecksum>,
}

pub(super) static TUNNEL: Table<Tunnel> = Table {
    block: "lvs_method",
    keywords: &[
        Keyword::or("type", "ipip", Takes::Text(|t, text| t.kind = Some(text.to_owned()))),
        Keyword::new(
            "port",
            Takes::Integer { min: 1, max: 65_535, set: |t, n| t.port = Some(n as u16) },
        ),
        Keyword::new("nocsum", Takes::Flag(|t| t.checksum = Some(TunnelChecksum::None))),
        Keyword::new("csum", Takes::Flag(|t| t.checksum = Some(TunnelChecksum::Checksum))),
        Keyword::new("remcsum", Takes::Flag(|t| t.checksum = Some(TunnelChecksum::Remote))),
    ],
    also: &[],
};

/// `NAT | DR | TUN [type ipip|gue|gre] [port N] [nocsum|csum|remcsum]`
///
/// `TUN` with options that do not fit is a tunnel all the same: the one that was set before, else ipip.
pub(super) fn method(
    context: &mut Context<'_>,
    line: &Line,
    before: Option<LvsMethod>,
) -> Option<LvsMethod> {
    match line.str(1) {
        "NAT" => return Some(LvsMethod::Nat),
        "DR" => return Some(LvsMethod::Dr),
        "TUN" => {}
        other => {
            let message = format!("`{other}` is no forwarding method and is ignored");
            context
                .diags
                .warn("method", line.place_from(1), message)
                .hint("use NAT, DR or TUN, in capitals");
            return None;
        }
    }
    let mut tunnel = Tunnel::default();
    if !context.options(&TUNNEL, &mut tunnel, line, 2) {
        return None;
    }
    let Tunnel { kind, port, checksum } = tunnel;
    let kind = kind.as_deref().unwrap_or("ipip");
    let problem = match (kind, port, checksum) {
        ("ipip", None, None) => return Some(LvsMethod::Ipip),
        ("gue", Some(port), checksum) => {
            return Some(LvsMethod::Gue { port, checksum: checksum.unwrap_or_default() });
        }
        ("gre", None, None | Some(TunnelChecksum::None)) => {
            return Some(LvsMethod::Gre { checksum: false });
        }
        ("gre", None, Some(TunnelChecksum::Checksum)) => {
            return Some(LvsMethod::Gre { checksum: true });
        }
        ("gue", None, _) => "a gue tunnel needs a port",
        ("ipip", ..) => "an ipip tunnel takes neither port nor checksum",
        ("gre", ..) => "a gre tunnel takes `csum` or `nocsum` only",
        _ => "the tunnel's type must be ipip, gue or gre",
    };
    let tunnel = before.filter(|method| method.is_tunnel()).unwrap_or(LvsMethod::Ipip);
    let kept =
        if tunnel == LvsMethod::Ipip { "an ipip tunnel is used" } else { "the one before is used" };
    context.diags.warn("tunnel", line.place_from(1), format!("{problem}; {kept}"));
    Some(tunnel)
}

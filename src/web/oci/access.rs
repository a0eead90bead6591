//! Who may pull, push and delete, and how those are asked for credentials who have none.
//!
//! Where nothing is open to everybody, the challenge is Basic, which every client answers at once. Where everybody may
//! pull and some may push, it is Bearer (docs.docker.com, "Token Authentication Specification"): a 200 to the ping would
//! keep docker from ever sending its password, and a Basic challenge would keep those out who have none.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};

use super::API_VERSION;
use super::error::{Code, OciError};
use crate::auth::{Access, Identity, Target};
use crate::model::repository::Repository;
use crate::web::caller::Caller;
use crate::web::{Node, answer};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What tokens are for; there is one service.
const SERVICE: &str = "larder";

/// Who asks, if they may; else the answer that tells them so. The answer to a request with a body has to be sent after
/// the body was read.
pub async fn admit(
    node: &Node,
    caller: &Caller,
    repository: &Repository,
    access: Access,
) -> Result<Arc<Identity>, Response<Body>> {
    let identity = identify(node, caller, Some((repository, access))).await?;
    if identity.may(access, Target::Oci(repository.as_str())) {
        return Ok(identity);
    }
    if identity.is_anonymous() {
        caller.note_refusal(node, "oci-credentials-missing", "a client without a password may not do this");
        return Err(challenge(node, caller, Some((repository, access)), "log in first"));
    }
    let needed = match access {
        Access::Read => "read",
        Access::Write => "read-write",
        Access::Admin => "admin",
    };
    let grant = format!("this user needs a grant such as \"oci:{repository}={needed}\"");
    Err(OciError::new(Code::Denied, grant).into_response())
}

/// Like [`admit`] for a push into the repository: a refusal comes with the body read.
pub async fn admit_push(
    node: &Node,
    caller: &Caller,
    repository: &Repository,
    body: Body,
) -> Result<(Arc<Identity>, Body), Response<Body>> {
    match admit(node, caller, repository, Access::Write).await {
        Ok(identity) => Ok((identity, body)),
        Err(refusal) => Err(answer::after_drain(node, body, refusal).await),
    }
}

/// Who asks.
pub async fn identify(
    node: &Node,
    caller: &Caller,
    wanted: Option<(&Repository, Access)>,
) -> Result<Arc<Identity>, Response<Body>> {
    caller.look_up(node).await.map_err(|_| {
        caller.note_refusal(node, "credentials-wrong", "a client was refused: its name or password is not right");
        challenge(node, caller, wanted, "the name, the password or the token is not right")
    })
}

/// Whether everybody is asked for credentials at the ping.
pub fn wants_login(node: &Node) -> bool {
    let open = node.parts.auth.anonymous().may(Access::Write, Target::EveryRepository);
    node.parts.auth.has_users() && !open
}

/// 401, with the challenge that this node's clients are to answer.
pub fn challenge(node: &Node, caller: &Caller, wanted: Option<(&Repository, Access)>, message: &str) -> Response<Body> {
    let mut response = OciError::new(Code::Unauthorized, message).into_response();
    let value = match realm(caller).filter(|_| is_open_to_readers(node)) {
        Some(realm) => {
            let scope = wanted.map_or(String::new(), |(repository, access)| {
                let actions = match access {
                    Access::Read => "pull",
                    Access::Write => "pull,push",
                    Access::Admin => "pull,push,delete",
                };
                format!(",scope=\"repository:{repository}:{actions}\"")
            });
            HeaderValue::try_from(format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"{scope}")).ok()
        }
        None => None,
    };
    let basic = HeaderValue::from_static("Basic realm=\"larder\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, value.unwrap_or(basic));
    // Old versions of docker look for it to know that this is a registry.
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

fn is_open_to_readers(node: &Node) -> bool {
    node.parts.auth.anonymous().may(Access::Read, Target::EveryRepository)
}

/// Where tokens are to be had: on the host and port that the client itself used, because some clients go nowhere else.
fn realm(caller: &Caller) -> Option<String> {
    let host = caller.header(&header::HOST)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    // Behind an ingress that ends TLS the node itself is spoken to in plain HTTP.
    let scheme = match caller.header(&FORWARDED_PROTO) {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    Some(format!("{scheme}://{host}/v2/token"))
}

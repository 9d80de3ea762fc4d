//! Who may do what: tokens of machines, and the session of a person's browser.
//!
//! A token is 256 random bits; only its SHA-256 is stored. It is looked up by that digest, so no secret
//! is ever compared byte by byte. A browser gets a cookie whose value is an HMAC of the token's digest
//! under a key of this process: it says nothing about the token and ends with the process.

use crate::lang::time::{SECOND_MS, Time};
use crate::store::{Store, StoreResult, TokenRow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// Least time between two looks into the store for a token that is not known here.
const REFRESH_MS_MIN: i64 = SECOND_MS;

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Import the past.
    Import,
    /// Read everything.
    Read,
    /// Change customers, start runs.
    Operate,
    /// Everything.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 5] = [Scope::Ingest, Scope::Import, Scope::Read, Scope::Operate, Scope::Admin];

    /// Its name in the store and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Ingest => "ingest",
            Scope::Import => "import",
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Admin => "admin",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// A token that counts.
#[derive(Debug)]
struct Token {
    name: String,
    scopes: u8,
    expires: Option<Time>,
}

impl Token {
    fn may(&self, scope: Scope) -> bool {
        self.scopes & (scope.bit() | Scope::Admin.bit()) != 0
    }
}

/// What a token says to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// It may.
    Granted,
    /// It is a token, but not for this.
    OutOfScope,
    /// It is no token, or has run out.
    Unknown,
}

type TokenDigest = [u8; 32];

#[derive(Default)]
struct Known {
    tokens: HashMap<TokenDigest, Token>,
    /// Cookie value → digest of the token that was given for it.
    sessions: HashMap<String, TokenDigest>,
}

/// The tokens there are.
pub struct Auth {
    known: RwLock<Arc<Known>>,
    key: [u8; 32],
    refreshed_ms: AtomicI64,
}

impl Auth {
    /// Reads the tokens of the store.
    ///
    /// # Errors
    /// When the store fails, or this machine gives no random bytes.
    pub async fn load(store: &dyn Store) -> StoreResult<Auth> {
        let auth = Auth { known: RwLock::default(), key: random()?, refreshed_ms: AtomicI64::new(0) };
        auth.refresh(store).await?;
        Ok(auth)
    }

    /// Reads the tokens of the store again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refresh(&self, store: &dyn Store) -> StoreResult<()> {
        self.refreshed_ms.store(store.now().0, Ordering::Relaxed);
        let mut known = Known::default();
        for row in store.tokens().await? {
            let Ok(digest) = TokenDigest::try_from(row.digest.as_slice()) else {
                tracing::warn!(name = row.name, "a stored token has no SHA-256 digest and is ignored");
                continue;
            };
            let scopes = row.scopes.iter().filter_map(|name| Scope::parse(name)).fold(0, |bits, scope| bits | scope.bit());
            known.sessions.insert(self.session(&digest), digest);
            known.tokens.insert(digest, Token { name: row.name, scopes, expires: row.expires });
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the bearer of an `Authorization` header may do what needs `scope`. A token that is not
    /// known here may have been made elsewhere: then the store is asked, at most once a second.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bearer(&self, store: &dyn Store, header: Option<&str>, scope: Scope) -> StoreResult<Permit> {
        let Some(token) = header.and_then(bearer_token) else { return Ok(Permit::Unknown) };
        let digest: TokenDigest = Sha256::digest(token.as_bytes()).into();
        let now = store.now();
        let permit = self.permit(&digest, scope, now);
        let stale = now.since_ms(Time(self.refreshed_ms.load(Ordering::Relaxed))) >= REFRESH_MS_MIN;
        if permit != Permit::Unknown || !stale {
            return Ok(permit);
        }
        self.refresh(store).await?;
        Ok(self.permit(&digest, scope, now))
    }

    /// What the token of an `Authorization` header is called; empty when there is none that is known.
    pub fn name(&self, header: Option<&str>) -> String {
        let digest = header.and_then(bearer_token).map(|token| TokenDigest::from(Sha256::digest(token.as_bytes())));
        digest.and_then(|digest| self.known().tokens.get(&digest).map(|token| token.name.clone())).unwrap_or_default()
    }

    fn permit(&self, digest: &TokenDigest, scope: Scope, now: Time) -> Permit {
        match self.known().tokens.get(digest) {
            Some(token) if token.expires.is_none_or(|expires| now < expires) => match token.may(scope) {
                true => Permit::Granted,
                false => Permit::OutOfScope,
            },
            _ => Permit::Unknown,
        }
    }

    /// What the holder of a session cookie may do.
    pub fn cookie(&self, value: &str, scope: Scope, now: Time) -> Permit {
        match self.known().sessions.get(value) {
            Some(digest) => self.permit(digest, scope, now),
            None => Permit::Unknown,
        }
    }

    /// The session cookie for a token that may read; `None` for any other text.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_in(&self, store: &dyn Store, token: &str) -> StoreResult<Option<String>> {
        let permit = self.bearer(store, Some(&format!("Bearer {token}")), Scope::Read).await?;
        let digest: TokenDigest = Sha256::digest(token.as_bytes()).into();
        Ok((permit == Permit::Granted).then(|| self.session(&digest)))
    }

    fn session(&self, digest: &TokenDigest) -> String {
        // HMAC takes keys of any length (RFC 2104, section 2).
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of 32 bytes");
        mac.update(digest);
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

fn bearer_token(header: &str) -> Option<&str> {
    let (kind, token) = header.split_once(' ')?;
    let token = token.trim();
    (kind.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

fn random() -> StoreResult<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| crate::store::StoreError::Fatal(format!("this machine gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// Makes a token, keeps its digest in the store, and returns it: the only time that it can be seen.
///
/// # Errors
/// When the store fails, or this machine gives no random bytes.
pub async fn issue(store: &dyn Store, name: &str, scopes: &[Scope], expires: Option<Time>) -> StoreResult<String> {
    let token = format!("af_{}", URL_SAFE_NO_PAD.encode(random()?));
    let scopes = scopes.iter().map(|scope| scope.name().to_owned()).collect();
    let digest = Sha256::digest(token.as_bytes()).to_vec();
    store.put_token(TokenRow { digest, name: name.to_owned(), scopes, expires }).await?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::intake::fake::FakeStore;

    #[tokio::test]
    async fn a_token_may_what_its_scopes_say_until_it_runs_out() {
        let store = FakeStore::new();
        let read = issue(&*store, "reader", &[Scope::Read], None).await.unwrap();
        let admin = issue(&*store, "admin", &[Scope::Admin], None).await.unwrap();
        let expired = issue(&*store, "old", &[Scope::Admin], Some(store.now())).await.unwrap();
        let auth = Auth::load(&*store).await.unwrap();
        let ask = async |token: &str, scope| auth.bearer(&*store, Some(&format!("bearer {token}")), scope).await.unwrap();
        assert_eq!(ask(&read, Scope::Read).await, Permit::Granted);
        assert_eq!(ask(&read, Scope::Ingest).await, Permit::OutOfScope);
        for scope in Scope::ALL {
            assert_eq!(ask(&admin, scope).await, Permit::Granted);
            assert_eq!(ask(&expired, scope).await, Permit::Unknown);
            assert_eq!(ask("af_wrong", scope).await, Permit::Unknown);
        }
        assert_eq!(auth.bearer(&*store, None, Scope::Read).await.unwrap(), Permit::Unknown);
        assert_eq!(auth.bearer(&*store, Some(&format!("Basic {admin}")), Scope::Read).await.unwrap(), Permit::Unknown);
        // Only digests are kept.
        assert!(store.tokens().await.unwrap().iter().all(|row| row.digest.len() == 32));
    }

    #[tokio::test]
    async fn a_session_is_worth_its_token_and_nothing_else() {
        let store = FakeStore::new();
        let read = issue(&*store, "reader", &[Scope::Read], None).await.unwrap();
        let ingest = issue(&*store, "shop", &[Scope::Ingest], None).await.unwrap();
        let auth = Auth::load(&*store).await.unwrap();
        let cookie = auth.log_in(&*store, &read).await.unwrap().unwrap();
        assert!(!cookie.contains(&read));
        assert_eq!(auth.cookie(&cookie, Scope::Read, store.now()), Permit::Granted);
        assert_eq!(auth.cookie(&cookie, Scope::Operate, store.now()), Permit::OutOfScope);
        assert_eq!(auth.log_in(&*store, &ingest).await.unwrap(), None);
        let other = Auth::load(&*store).await.unwrap();
        assert_eq!(other.cookie(&cookie, Scope::Read, store.now()), Permit::Unknown, "a session ends with its process");
    }
}

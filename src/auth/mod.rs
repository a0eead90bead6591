//! Who is it, and may it?

mod alone;
pub mod basic;
mod grant;
mod password;
mod remembered;
mod throttle;
mod token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use grant::{Access, Grant, Target};

use self::alone::Alone;
use self::password::{Checkers, Password};
use self::remembered::Remembered;
use self::throttle::Throttle;
use crate::clock;
use crate::config::{Anonymous, AuthConfig};
use crate::model::seal::Sealer;

/// Somebody who asks: a user, or whoever has no credentials.
#[derive(Debug)]
pub struct Identity {
    name: String,
    grants: Vec<Grant>,
}

impl Identity {
    /// The user's name; empty for an anonymous one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this identity is nobody in particular.
    pub fn is_anonymous(&self) -> bool {
        self.name.is_empty()
    }

    /// Whether it has this access to the target.
    pub fn may(&self, access: Access, target: Target<'_>) -> bool {
        self.grants.iter().any(|grant| grant.covers(access, target))
    }
}

/// The credentials are not those of a user, or this source tries too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// All users, and what is remembered of their last requests.
#[derive(Debug)]
pub struct Auth {
    users: HashMap<String, (Password, Arc<Identity>)>,
    anonymous: Arc<Identity>,
    nobody: Password,
    remembered: Remembered,
    throttle: Throttle,
    alone: Alone,
    checkers: Checkers,
    sealer: Sealer,
}

impl Auth {
    /// Reads passwords from where the configuration says.
    ///
    /// # Errors
    /// One line that names the user and what to do.
    pub fn new(
        config: &AuthConfig,
        anonymous: Anonymous,
        sealer: Sealer,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut users = HashMap::new();
        for user in &config.users {
            let named = |problem: String| format!("auth.user `{}`: {problem}", user.name);
            let password = Password::load(user.source()?, &environment).map_err(named)?;
            let grants: Result<Vec<Grant>, String> =
                user.grants.iter().flatten().map(|text| Grant::parse(text)).collect();
            let identity = Identity { name: user.name.clone(), grants: grants.map_err(named)? };
            users.insert(user.name.clone(), (password, Arc::new(identity)));
        }
        let grants = match anonymous {
            Anonymous::None => Vec::new(),
            Anonymous::Read => Grant::everywhere(Access::Read),
            Anonymous::ReadWrite => Grant::everywhere(Access::Write),
        };
        let nobody = Password::like(users.values().map(|(password, _)| password));
        Ok(Self {
            users,
            anonymous: Arc::new(Identity { name: String::new(), grants }),
            nobody,
            remembered: Remembered::new().map_err(|e| format!("auth: no random numbers from the system: {e}"))?,
            throttle: Throttle::default(),
            alone: Alone::default(),
            checkers: Checkers::default(),
            sealer,
        })
    }

    /// Whether anybody has a password here.
    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// What somebody without credentials may do.
    pub fn anonymous(&self) -> &Arc<Identity> {
        &self.anonymous
    }

    /// A token for somebody who has shown credentials, or none, good for this long.
    pub fn issue(&self, identity: &Identity, good_for: Duration) -> String {
        let lifetime = u64::try_from(good_for.as_millis()).unwrap_or(u64::MAX);
        token::issue(&self.sealer, identity.name(), clock::unix_ms().saturating_add(lifetime))
    }

    fn remember(&self, credentials: &[u8], identity: &Arc<Identity>) -> Arc<Identity> {
        self.remembered.keep(credentials, identity);
        Arc::clone(identity)
    }

    fn bearer(&self, token: &str) -> Option<Arc<Identity>> {
        let name = token::check(&self.sealer, token, clock::unix_ms())?;
        if name.is_empty() {
            return Some(Arc::clone(&self.anonymous));
        }
        self.users.get(&name).map(|(_, identity)| Arc::clone(identity))
    }

    /// Says who sent these credentials: the value of an `Authorization` header, if there was one.
    ///
    /// # Errors
    /// [`Refused`]; which of name and password was wrong is not told, and costs the same time.
    pub async fn identify(&self, credentials: Option<&[u8]>, source: IpAddr) -> Result<Arc<Identity>, Refused> {
        // Where nobody has a password, a build that sends one is served like every other.
        let credentials = credentials.filter(|_| !self.users.is_empty());
        let Some(credentials) = credentials else { return Ok(Arc::clone(&self.anonymous)) };
        if let Some(identity) = self.remembered.get(credentials) {
            return Ok(identity);
        }
        if let Some(token) = token::of_header(credentials) {
            return self.bearer(token).ok_or(Refused);
        }
        let (name, secret) = basic::parse(credentials).ok_or(Refused)?;
        let (password, identity) =
            self.users.get(&name).map_or((&self.nobody, None), |(password, identity)| (password, Some(identity)));
        let mut holds = password.holds_at_once(&secret);
        if !(holds && identity.is_some()) {
            // A fleet that starts at once with one hashed password is one check.
            let _alone = self.alone.enter(credentials).await;
            if let Some(identity) = self.remembered.get(credentials) {
                return Ok(identity);
            }
            // Only what costs time or is wrong has to queue behind the guesses of the same address.
            let _turn = self.throttle.admit(source).await?;
            // A wrong password takes as long as that of an unknown user.
            let dearest = if password.is_cheaper_than(&self.nobody) { &self.nobody } else { password };
            let checked = self.checkers.holds(dearest, secret).await;
            holds = checked && std::ptr::eq(dearest, password);
            if let (true, Some(identity)) = (holds, identity) {
                self.throttle.succeeded(source);
                // Before the next of the fleet looks.
                return Ok(self.remember(credentials, identity));
            }
        }
        identity.filter(|_| holds).map(|identity| self.remember(credentials, identity)).ok_or(Refused)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::config::{Secret, UserConfig};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn header(user: &str, password: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into_bytes()
    }

    fn user(name: &str) -> UserConfig {
        UserConfig { name: name.into(), grants: Some(vec!["gradle:team-*=read".into()]), ..UserConfig::default() }
    }

    fn auth(users: Vec<UserConfig>, anonymous: Anonymous) -> Result<Auth, String> {
        let config = AuthConfig { anonymous: Some(anonymous), users };
        Auth::new(&config, anonymous, Sealer::new(&[1; 32]), |name| (name == "PW").then(|| "from env".to_owned()))
    }

    #[tokio::test]
    async fn every_kind_of_password_opens_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pw");
        #[allow(clippy::disallowed_methods)]
        std::fs::write(&file, "from file\n").unwrap();
        let bcrypt = bcrypt::hash("from bcrypt", 4).unwrap();
        let argon = password::tests::argon2id("from argon");
        let auth = auth(
            vec![
                UserConfig { password: Some(Secret::new("plain")), ..user("a") },
                UserConfig { password_env: Some("PW".into()), ..user("b") },
                UserConfig { password_file: Some(file.display().to_string()), ..user("c") },
                UserConfig { password_hash: Some(Secret::new(bcrypt)), ..user("d") },
                UserConfig { password_hash: Some(Secret::new(argon)), ..user("e") },
            ],
            Anonymous::None,
        )
        .unwrap();
        for (name, password) in
            [("a", "plain"), ("b", "from env"), ("c", "from file"), ("d", "from bcrypt"), ("e", "from argon")]
        {
            for _ in 0..2 {
                let identity = auth.identify(Some(&header(name, password)), HERE).await.unwrap();
                assert_eq!(identity.name(), name);
                assert!(identity.may(Access::Read, Target::Gradle("team-x")));
                assert!(!identity.may(Access::Write, Target::Gradle("team-x")));
                assert!(!identity.may(Access::Read, Target::Gradle("other")));
            }
            assert!(auth.identify(Some(&header(name, "wrong")), HERE).await.is_err());
        }
        assert!(auth.identify(Some(&header("nobody", "plain")), HERE).await.is_err());
        assert!(auth.identify(Some(b"Basic !!!"), HERE).await.is_err());
        assert!(auth.identify(Some(b"Digest x"), HERE).await.is_err());
        assert!(!auth.identify(None, HERE).await.unwrap().may(Access::Read, Target::Gradle("team-x")));
    }

    #[tokio::test]
    async fn a_fleet_with_one_hashed_password_gets_in_while_somebody_guesses() {
        let hash = Some(Secret::new(bcrypt::hash("good", 4).unwrap()));
        let auth = Arc::new(auth(vec![UserConfig { password_hash: hash, ..user("ci") }], Anonymous::None).unwrap());
        assert!(auth.identify(Some(&header("ci", "good")), HERE).await.is_ok());
        let ask = |password: String| {
            let auth = Arc::clone(&auth);
            tokio::spawn(async move { auth.identify(Some(&header("ci", &password)), HERE).await.is_ok() })
        };
        let guesses: Vec<_> = (0..60).map(|i| ask(format!("bad{i}"))).collect();
        let fleet: Vec<_> = (0..60).map(|_| ask("good".into())).collect();
        for member in fleet {
            assert!(member.await.unwrap());
        }
        guesses.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_fleet_that_starts_at_once_is_one_check() {
        let hash = Some(Secret::new(bcrypt::hash("good", 4).unwrap()));
        let auth = Arc::new(auth(vec![UserConfig { password_hash: hash, ..user("ci") }], Anonymous::None).unwrap());
        let fleet: Vec<_> = (0..100)
            .map(|_| {
                let auth = Arc::clone(&auth);
                tokio::spawn(async move { auth.identify(Some(&header("ci", "good")), HERE).await.is_ok() })
            })
            .collect();
        for member in fleet {
            assert!(member.await.unwrap());
        }
    }

    #[tokio::test]
    async fn anonymous_levels() {
        let read = auth(vec![], Anonymous::Read).unwrap().identify(None, HERE).await.unwrap();
        assert!(read.may(Access::Read, Target::Gradle("x")) && !read.may(Access::Write, Target::Gradle("x")));
        let write = auth(vec![], Anonymous::ReadWrite).unwrap().identify(None, HERE).await.unwrap();
        assert!(write.may(Access::Write, Target::Gradle("x")) && !write.may(Access::Admin, Target::Node));
    }

    #[test]
    fn what_cannot_be_checked_is_refused_at_start() {
        let wrong = |u: UserConfig| auth(vec![u], Anonymous::None).unwrap_err();
        assert!(wrong(UserConfig { password_env: Some("MISSING".into()), ..user("a") }).contains("MISSING"));
        assert!(wrong(UserConfig { password_file: Some("/nope".into()), ..user("a") }).contains("/nope"));
        let hash = Some(Secret::new("5f4dcc3b5aa765d61d8327deb882cf99"));
        let error = wrong(UserConfig { password_hash: hash, ..user("a") });
        assert!(error.contains("bcrypt") && !error.contains("5f4dcc"), "{error}");
        let grants = Some(vec!["gradle=all".to_owned()]);
        assert!(wrong(UserConfig { password: Some(Secret::new("x")), grants, ..user("a") }).contains("gradle=all"));
    }
}

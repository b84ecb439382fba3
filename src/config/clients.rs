//! Registered clients: apps that may open QR logins in their own name.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use countersign_protocol::UserId;
use countersign_protocol::oauth::{OPENID, PROFILE};

use super::reader::{Reader, read_settings};
use super::settings::{Settings, settings};
use super::value::{Kind, Text, Value, Written};
use super::{Config, origins};
use crate::auth::names;

/// Most clients.
const CLIENTS_MAX: usize = 1_000;
/// Longest id of a client, bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 64;
/// Longest name of a client, characters: as of every display name.
const NAME_CHARS_MAX: usize = 64;
/// Shortest secret of a client, bytes: nobody guesses one.
const CLIENT_SECRET_BYTES_MIN: usize = 24;
/// Longest secret of a client, bytes.
const CLIENT_SECRET_BYTES_MAX: usize = 256;
/// Most origins, scopes and accounts of a client, each.
const CLIENT_LIST_MAX: usize = 100;
/// Longest scope, bytes.
const SCOPE_BYTES_MAX: usize = 64;

/// The client that there is while the demo page is served.
pub const DEMO_CLIENT: &str = "demo";

settings! {
    /// An app that may open QR logins in its own name.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Client {
        name: String = String::new(), "", Form("1 to 64 characters"),
            "what the phone is shown" like "\"Reader\"";
        secret: Option<ClientSecret> = None, "", Form("24 to 256 visible ASCII characters"),
            "what a confidential client authenticates with; `openssl rand -hex 32` makes one. Without it the client is a public one" [Secret]
            like "\"a-secret-of-its-own-made-by-openssl\"";
        origins: Vec<String> = Vec::new(), "", Form("as `public_origin`, at most 100; for public clients"),
            "whose pages may open QR logins for it with `client_id`. Each is as good as an entry of `allowed_origins`: its pages may open sockets and call every API, also without `client_id`"
            like "[\"https://reader.example\"]";
        third_party: bool = false, "", Free,
            "whether it is somebody else's app: its tokens are never good for this gateway's own API";
        audience: Option<String> = None, "", Form("1 to 256 visible ASCII characters, not `tokens.audience`"),
            "claim `aud` of its tokens without a device; without it the client's id"
            like "\"https://api.reader.example\"";
        scopes: Vec<String> = vec![OPENID.into(), PROFILE.into()], "", Form("at most 100 of 1 to 64 visible ASCII characters but `\"` and `\\`"),
            "what it may ask for; the phone is shown what it does ask for";
        users: Vec<String> = Vec::new(), "", Form("at most 100 user ids"),
            "accounts that may sign in to it, others are refused with `policy_denied`; without it all may"
            like "[\"alice\"]";
    }
}

/// Clients by id.
pub type Clients = BTreeMap<String, Client>;

impl Client {
    /// Whether it has no secret to show.
    pub fn is_public(&self) -> bool {
        self.secret.is_none()
    }

    /// Whether this account may sign in to it.
    pub fn admits(&self, user: &UserId) -> bool {
        self.users.is_empty() || self.users.iter().any(|id| id == user.as_str())
    }

    /// Whether a session of its for this account may begin, or go on, as it is registered by now.
    pub fn may_have(&self, user: &UserId, on_a_device: bool) -> bool {
        self.admits(user) && !(self.third_party && on_a_device)
    }

    /// Claim `aud` of its tokens without a device.
    pub fn audience<'a>(&'a self, id: &'a str) -> &'a str {
        self.audience.as_deref().unwrap_or(id)
    }

    fn demo() -> Self {
        Self {
            name: "Demo".into(),
            ..Self::default()
        }
    }
}

impl Config {
    /// A client by its id: one that is registered, or while the demo page is served [`DEMO_CLIENT`].
    pub fn client(&self, id: &str) -> Option<Cow<'_, Client>> {
        match self.clients.get(id) {
            Some(client) => Some(Cow::Borrowed(client)),
            None if self.demo && id == DEMO_CLIENT => Some(Cow::Owned(Client::demo())),
            None => None,
        }
    }
}

impl Config {
    /// What a client is called, by its id: one that is registered no longer has no name any more.
    pub fn client_name(&self, id: &str) -> String {
        self.client(id)
            .map_or_else(|| id.to_owned(), |client| client.name.clone())
    }

    /// Whose pages may connect, beside those of `public_origin`: `allowed_origins` and those of public clients. A
    /// client with a secret is opened by no page.
    pub fn page_origins(&self) -> Vec<String> {
        let public = self.clients.values().filter(|client| client.is_public());
        let clients = public.flat_map(|client| &client.origins);
        self.allowed_origins.iter().chain(clients).cloned().collect()
    }
}

/// The secret of a client. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// As it was written.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, to compare with.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn is_sound(&self) -> bool {
        let long = (CLIENT_SECRET_BYTES_MIN..=CLIENT_SECRET_BYTES_MAX).contains(&self.0.len());
        long && self.0.bytes().all(|b| b.is_ascii_graphic())
    }
}

impl Text for ClientSecret {
    fn of(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
    fn text(&self) -> String {
        "not shown".into()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

impl Value for Clients {
    fn kind(&self) -> Kind {
        Kind::Table
    }
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        let Some(table) = value.get_ref().as_table() else {
            reader.wrong_kind(value, self.kind());
            return;
        };
        // More are too many already, and are told as such.
        for (key, written) in table.iter().take(CLIENTS_MAX + 1) {
            let id = key.get_ref().as_ref();
            let mut client = Client::default();
            reader.below(&format!(".{id}"), key.span(), |reader| {
                read_settings(&mut client, written, reader);
            });
            self.insert(id.to_owned(), client);
        }
    }
    fn shown(&self) -> Option<String> {
        None
    }
    fn one_of_many(&self) -> Option<Box<dyn Settings>> {
        Some(Box::new(Client::default()))
    }
}

/// What is wrong with clients: the setting, and a sentence.
pub(super) fn problems(clients: &Clients, own_audience: &str) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if clients.len() > CLIENTS_MAX {
        let told = format!("clients: at most {CLIENTS_MAX} clients can be registered");
        problems.push(("clients".to_owned(), told));
    }
    for (id, client) in clients {
        let path = format!("clients.{id}");
        if !is_client_id(id) {
            let told = format!("{path}: a client's id is 1 to {CLIENT_ID_BYTES_MAX} of A-Z a-z 0-9 _ . -");
            problems.push((path.clone(), told));
        }
        for (field, told) in of_one(id, client, own_audience) {
            let path = format!("{path}.{field}");
            let told = format!("{path}: {told}");
            problems.push((path, told));
        }
    }
    problems
}

/// What may not be meant.
pub(super) fn doubts(clients: &Clients) -> Vec<(String, String)> {
    let mut doubts = useless_origins(clients);
    doubts.extend(shared_audiences(clients));
    doubts
}

/// Audiences that two clients have: who takes the tokens of one takes those of the other.
fn shared_audiences(clients: &Clients) -> Vec<(String, String)> {
    // By audience and by id: whom a token with that audience would be for.
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, client) in clients {
        let names = BTreeSet::from([id.as_str(), client.audience(id)]);
        for name in names {
            owners.entry(name).or_default().push(id);
        }
    }
    let told = |(id, client): (&String, &Client)| {
        let audience = client.audience.as_deref()?;
        let other = owners.get(audience)?.iter().find(|other| *other != id)?;
        let path = format!("clients.{id}.audience");
        let told = format!(
            "{path}: {audience:?} is the id or the audience of {other:?} too: what takes the tokens of the one takes those of \
             the other"
        );
        Some((path, told))
    };
    clients.iter().filter_map(told).collect()
}

/// What is of no use: origins of a client with a secret, which no page keeps.
fn useless_origins(clients: &Clients) -> Vec<(String, String)> {
    let useless = clients
        .iter()
        .filter(|(_, client)| !client.is_public() && !client.origins.is_empty());
    let told = |id: &String| {
        let path = format!("clients.{id}.origins");
        let told = format!("{path}: only public clients are opened by pages, and this one has a secret");
        (path, told)
    };
    useless.map(|(id, _)| told(id)).collect()
}

fn is_client_id(id: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=CLIENT_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(known)
}

fn of_one(id: &str, client: &Client, own_audience: &str) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let shown = names::display_name(&client.name);
    if shown.as_deref() != Some(client.name.as_str()) {
        let told = format!("the phone shows it: 1 to {NAME_CHARS_MAX} characters that all can be seen");
        problems.push(("name", told));
    }
    if client.secret.as_ref().is_some_and(|secret| !secret.is_sound()) {
        let told = format!(
            "{CLIENT_SECRET_BYTES_MIN} to {CLIENT_SECRET_BYTES_MAX} visible ASCII characters without spaces: `openssl \
             rand -hex 32` makes one"
        );
        problems.push(("secret", told));
    }
    problems.extend(
        client
            .origins
            .iter()
            .filter_map(|o| Some(("origins", origins::problem(o)?))),
    );
    if client.third_party && !client.origins.is_empty() {
        let told = "what a page opens with client_id gets tokens for this gateway's own API, which a third party's never \
                    are: leave origins or third_party out"
            .to_owned();
        problems.push(("origins", told));
    }
    let audience = client.audience(id);
    if audience == own_audience {
        let told =
            format!("{audience:?} is tokens.audience: its tokens would be good for this gateway's own API");
        problems.push(("audience", told));
    } else if !(1..=256).contains(&audience.len()) || !audience.bytes().all(|b| b.is_ascii_graphic()) {
        problems.push(("audience", "1 to 256 visible ASCII characters".to_owned()));
    }
    if let Some(wrong) = client.scopes.iter().find(|scope| !is_scope(scope)) {
        let told =
            format!("{wrong:?} is no scope: 1 to {SCOPE_BYTES_MAX} visible ASCII characters but \" and \\");
        problems.push(("scopes", told));
    }
    for user in &client.users {
        if let Err(wrong) = UserId::parse(user) {
            problems.push(("users", format!("{user:?}: {wrong}")));
        }
    }
    for (field, list) in [
        ("origins", &client.origins),
        ("scopes", &client.scopes),
        ("users", &client.users),
    ] {
        if list.len() > CLIENT_LIST_MAX {
            problems.push((field, format!("at most {CLIENT_LIST_MAX}")));
        }
    }
    problems
}

/// Whether `text` is one scope (RFC 6749 §3.3).
pub fn is_scope(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_graphic() && !b"\"\\".contains(&b);
    (1..=SCOPE_BYTES_MAX).contains(&text.len()) && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> String {
        let refused = Config::from_toml(text).unwrap().validate();
        refused.err().unwrap_or_default().join("\n")
    }

    #[test]
    fn a_client_is_read_and_has_its_defaults() {
        let config = Config::from_toml(
            "[clients.reader]\nname = \"Reader\"\n[clients.tv]\nname = \"TV\"\nsecret = \"0123456789abcdef0123456789\"\n\
             audience = \"https://api.tv.example\"\nusers = [\"alice\"]",
        )
        .unwrap();
        assert_eq!(config.validate(), Ok(()));
        let reader = config.client("reader").unwrap();
        assert!(reader.is_public() && !reader.third_party);
        assert_eq!(
            (reader.audience("reader"), reader.scopes.join(" ")),
            ("reader", "openid profile".into())
        );
        let tv = config.client("tv").unwrap();
        assert!(!tv.is_public() && tv.audience("tv") == "https://api.tv.example");
        let user = |id: &str| UserId::parse(id).unwrap();
        assert!(tv.admits(&user("alice")) && !tv.admits(&user("bob")) && reader.admits(&user("bob")));
        assert!(config.client("nobody").is_none());
    }

    #[test]
    fn the_demo_client_goes_with_the_demo_page() {
        let config = |text: &str| Config::from_toml(text).unwrap();
        assert!(
            config("")
                .client(DEMO_CLIENT)
                .is_some_and(|client| client.is_public())
        );
        assert!(config("demo = false").client(DEMO_CLIENT).is_none());
        let own = config("[clients.demo]\nname = \"Ours\"");
        assert_eq!(own.client(DEMO_CLIENT).unwrap().name, "Ours");
    }

    #[test]
    fn what_cannot_work_is_told() {
        for (text, part) in [
            ("[clients.\"a b\"]\nname = \"A\"", "clients.a b: a client's id is"),
            ("[clients.a]", "clients.a.name: the phone shows it"),
            ("[clients.a]\nname = \"A\\u202E\"", "clients.a.name"),
            ("[clients.a]\nname = \"A\"\nsecret = \"short\"", "openssl"),
            (
                "[clients.a]\nname = \"A\"\norigins = [\"reader.example\"]",
                "is no origin",
            ),
            (
                "[clients.a]\nname = \"A\"\norigins = [\"https://a.example\"]\nthird_party = true",
                "leave origins or third_party out",
            ),
            (
                "[clients.a]\nname = \"A\"\naudience = \"countersign\"",
                "tokens.audience",
            ),
            ("[clients.countersign]\nname = \"A\"", "tokens.audience"),
            ("[clients.a]\nname = \"A\"\naudience = \"\"", "1 to 256"),
            (
                "[clients.a]\nname = \"A\"\nscopes = [\"read all\"]",
                "is no scope",
            ),
            ("[clients.a]\nname = \"A\"\nusers = [\"a b\"]", "clients.a.users"),
        ] {
            assert!(problems_of(text).contains(part), "{text}: {}", problems_of(text));
        }
        assert!(Config::from_toml("clients = 3").is_err());
    }

    #[test]
    fn origins_of_a_client_with_a_secret_are_doubted() {
        let text = "[clients.a]\nname = \"A\"\norigins = [\"https://a.example\"]\nsecret = \"0123456789abcdef0123456789\"";
        let config = Config::from_toml(text).unwrap();
        assert_eq!(config.validate(), Ok(()));
        assert!(
            config
                .doubts()
                .iter()
                .any(|doubt| doubt.text.contains("clients.a.origins"))
        );
    }

    #[test]
    fn pages_of_public_clients_connect_and_no_others() {
        let text = "allowed_origins = [\"https://own.example\"]\n\
            [clients.a]\nname = \"A\"\norigins = [\"https://a.example\"]\n\
            [clients.b]\nname = \"B\"\norigins = [\"https://b.example\"]\nsecret = \"0123456789abcdef0123456789\"";
        let config = Config::from_toml(text).unwrap();
        assert_eq!(
            config.page_origins(),
            ["https://own.example", "https://a.example"]
        );
    }

    #[test]
    fn an_audience_of_two_clients_is_doubted() {
        let doubts = |text: &str| {
            let config = Config::from_toml(text).unwrap();
            let found = config.doubts().into_iter().map(|doubt| doubt.text);
            let audiences = found.filter(|text| text.contains(".audience"));
            audiences.collect::<Vec<_>>().join("\n")
        };
        let two = |a: &str, b: &str| {
            doubts(&format!(
                "[clients.a]\nname = \"A\"\n{a}\n[clients.b]\nname = \"B\"\n{b}"
            ))
        };
        let id = two("", "audience = \"a\"");
        assert!(
            id.contains("clients.b.audience: \"a\" is the id or the audience of \"a\""),
            "{id}"
        );
        let both = two(
            "audience = \"https://api.example\"",
            "audience = \"https://api.example\"",
        );
        assert!(
            both.contains("clients.a.audience") && both.contains("clients.b.audience"),
            "{both}"
        );
        assert_eq!(two("audience = \"a\"", "audience = \"https://api.example\""), "");
        assert_eq!(two("", ""), "");
    }

    #[test]
    fn lists_and_clients_are_bounded() {
        let users: Vec<_> = (0..=CLIENT_LIST_MAX).map(|n| format!("\"u{n}\"")).collect();
        let text = format!("[clients.a]\nname = \"A\"\nusers = [{}]", users.join(","));
        assert!(problems_of(&text).contains("at most 100"));
        let many: String = (0..=CLIENTS_MAX)
            .map(|n| format!("[clients.c{n}]\nname = \"C\"\n"))
            .collect();
        assert!(problems_of(&many).contains("at most 1000 clients"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let text = "[clients.a]\nname = \"A\"\nsecret = \"0123456789abcdef0123456789\"";
        assert!(!format!("{:?}", Config::from_toml(text).unwrap()).contains("0123456789abcdef"));
    }
}

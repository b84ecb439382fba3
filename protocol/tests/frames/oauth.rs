//! Device authorizations: what an app, the phone and the PC are told of one.

use countersign_protocol::client;
use countersign_protocol::codec::{command_json, json};
use countersign_protocol::http::{ScanByCode, ScanRequest, Scanned, SessionBody, Sessions};
use countersign_protocol::oauth::{
    AuthorizationServer, DEVICE_CODE_GRANT, DeviceAuthorization, Introspection, OAuthError, OAuthErrorCode,
    OAuthTokens, REFRESH_TOKEN_GRANT, UserInfo,
};
use countersign_protocol::server::{MatchForm, MatchMode, PublicDevice, QrMatch, QrPush, QrScanner, QrState};

use super::{ACCESS, AVATAR, CLAIM, Golden, QR_ID, REFRESH, SCAN_TOKEN, SESSION, write_again};

const ISSUER: &str = "https://login.example";
const USER_CODE: &str = "BCDF-GHJK";
const JTI: &str = "Zt5kQv2mR8yXc0Wn";

fn tv() -> PublicDevice {
    PublicDevice {
        name: Some("Living room".into()),
        kind: client::DeviceKind::Tv,
    }
}

fn typed(mode: MatchMode, form: MatchForm, code: Option<&str>) -> QrMatch {
    QrMatch {
        mode,
        form,
        code: code.map(str::to_owned),
    }
}

pub(super) fn all(golden: &mut Golden) {
    device(golden);
    refusals(golden);
    tokens(golden);
    metadata(golden);
    phone(golden);
    pushes(golden);
}

fn device(golden: &mut Golden) {
    command!(
        golden,
        "qr.open.with.client_id",
        client::QrOpen<'_>,
        client::QrOpen {
            device: client::Device {
                id: "pc-1".into(),
                name: None,
                kind: client::DeviceKind::Web,
            },
            public_key: None,
            dpop_jkt: None,
            client_id: Some("reader".into()),
        }
    );
    frame!(
        golden,
        "oauth.device_authorization",
        DeviceAuthorization,
        DeviceAuthorization {
            device_code: CLAIM.into(),
            user_code: USER_CODE.into(),
            verification_uri: format!("{ISSUER}/q"),
            verification_uri_complete: format!("{ISSUER}/q/{QR_ID}"),
            expires_in: 300,
            interval: 5,
            qr_id: QR_ID.into(),
        }
    );
    let issued = OAuthTokens {
        access_token: ACCESS.into(),
        token_type: "Bearer".into(),
        expires_in: 899,
        refresh_token: REFRESH.into(),
        scope: String::new(),
        id_token: None,
    };
    frame!(golden, "oauth.token", OAuthTokens, issued.clone());
    frame!(
        golden,
        "oauth.token.with.id_token",
        OAuthTokens,
        OAuthTokens {
            scope: "openid profile".into(),
            id_token: Some("eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl".into()),
            ..issued
        }
    );
}

fn refusals(golden: &mut Golden) {
    frame!(
        golden,
        "oauth.error",
        OAuthError,
        OAuthError {
            error: OAuthErrorCode::AuthorizationPending,
            error_description: None,
        }
    );
    frame!(
        golden,
        "oauth.error.with.description",
        OAuthError,
        OAuthError {
            error: OAuthErrorCode::InvalidRequest,
            error_description: Some("grant_type is missing".into()),
        }
    );
}

fn tokens(golden: &mut Golden) {
    let text = |text: &str| Some(text.to_owned());
    frame!(
        golden,
        "oauth.introspect",
        Introspection,
        Introspection {
            active: true,
            scope: text("openid profile"),
            client_id: text("reader"),
            token_type: text("Bearer"),
            exp: Some(1_795_306_126),
            iat: Some(1_795_305_226),
            sub: text("alice"),
            aud: text("https://api.reader.example"),
            iss: text(ISSUER),
            jti: text(JTI),
        }
    );
    frame!(
        golden,
        "oauth.introspect.with.inactive",
        Introspection,
        Introspection::default()
    );
    frame!(
        golden,
        "oauth.userinfo",
        UserInfo,
        UserInfo {
            sub: "alice".into(),
            name: text("Alice"),
            picture: text(AVATAR),
        }
    );
    frame!(
        golden,
        "oauth.userinfo.with.openid",
        UserInfo,
        UserInfo {
            sub: "alice".into(),
            name: None,
            picture: None,
        }
    );
}

fn metadata(golden: &mut Golden) {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let secret = ["client_secret_basic", "client_secret_post"];
    let any = [secret[0], secret[1], "none"];
    frame!(
        golden,
        "oauth.metadata",
        AuthorizationServer,
        AuthorizationServer {
            issuer: ISSUER.into(),
            device_authorization_endpoint: format!("{ISSUER}/oauth/device_authorization"),
            token_endpoint: format!("{ISSUER}/oauth/token"),
            revocation_endpoint: format!("{ISSUER}/oauth/revoke"),
            introspection_endpoint: format!("{ISSUER}/oauth/introspect"),
            userinfo_endpoint: format!("{ISSUER}/oauth/userinfo"),
            jwks_uri: format!("{ISSUER}/.well-known/jwks.json"),
            response_types_supported: Vec::new(),
            grant_types_supported: all(&[DEVICE_CODE_GRANT, REFRESH_TOKEN_GRANT]),
            token_endpoint_auth_methods_supported: all(&any),
            revocation_endpoint_auth_methods_supported: all(&any),
            introspection_endpoint_auth_methods_supported: all(&secret),
            scopes_supported: all(&["openid", "profile"]),
            subject_types_supported: all(&["public"]),
            id_token_signing_alg_values_supported: all(&["EdDSA"]),
            claims_supported: all(&["iss", "sub", "aud", "exp", "iat", "auth_time", "name", "picture"]),
        }
    );
}

fn phone(golden: &mut Golden) {
    frame!(
        golden,
        "request.scan.by.code",
        ScanByCode,
        ScanByCode {
            user_code: USER_CODE.into()
        }
    );
    let shown = |qr_id: Option<&str>, scopes: &[&str], full_access, number| Scanned {
        qr_id: qr_id.map(str::to_owned),
        scan_token: SCAN_TOKEN.into(),
        expires_in_ms: 60_000,
        request: ScanRequest {
            device: tv(),
            ip: "192.0.2.7".into(),
            user_agent: None,
            age_ms: 12_480,
            same_network: true,
            client: Some("Living room TV".into()),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            full_access,
        },
        number,
    };
    frame!(
        golden,
        "answer.scan.by.code",
        Scanned,
        shown(
            Some(QR_ID),
            &["openid", "profile"],
            false,
            typed(MatchMode::None, MatchForm::Digits, None)
        )
    );
    frame!(
        golden,
        "answer.scan.with.user_code",
        Scanned,
        shown(
            None,
            &[],
            true,
            typed(MatchMode::PhoneTypes, MatchForm::UserCode, None)
        )
    );
    frame!(
        golden,
        "answer.sessions.with.client",
        Sessions,
        Sessions {
            sessions: vec![SessionBody {
                id: SESSION.into(),
                device: tv(),
                created_at_ms: 1_795_305_226_000,
                last_seen_at_ms: 1_795_305_826_000,
                ip: "192.0.2.7".into(),
                current: false,
                client: Some("Living room TV".into()),
            }],
        }
    );
}

fn pushes(golden: &mut Golden) {
    let next = |seq, state| QrPush {
        qr_id: QR_ID.into(),
        seq,
        state,
        url: None,
        rotate_in_ms: None,
        user: None,
        number: None,
        matched: false,
        ticket: None,
        expires_in_ms: None,
        reason: None,
    };
    frame!(
        golden,
        "push.qr.scanned.with.user_code",
        QrPush,
        QrPush {
            user: Some(QrScanner {
                name: Some("Alice".into()),
                avatar: Some(AVATAR.into()),
            }),
            number: Some(typed(MatchMode::PhoneTypes, MatchForm::UserCode, Some(USER_CODE))),
            expires_in_ms: Some(60_000),
            ..next(2, QrState::Scanned)
        }
    );
    frame!(
        golden,
        "push.qr.confirmed.with.device_code",
        QrPush,
        QrPush {
            expires_in_ms: Some(120_000),
            ..next(3, QrState::Confirmed)
        }
    );
}

/// What is on the wire is what tables and documents are made from.
#[test]
fn the_name_of_an_oauth_error_is_what_travels() {
    let source = include_str!("../../src/oauth.rs");
    let (_, variants) = source.split_once("pub enum OAuthErrorCode {").unwrap();
    let (variants, _) = variants.split_once("\n}").unwrap();
    let is_variant = |line: &&str| !line.trim_start().starts_with("//") && !line.trim().is_empty();
    assert_eq!(
        variants.lines().filter(is_variant).count(),
        OAuthErrorCode::ALL.len()
    );
    let mut names = std::collections::BTreeSet::new();
    for code in OAuthErrorCode::ALL {
        let name = code.name();
        assert!(names.insert(name), "{name} is there twice");
        assert_eq!(serde_json::to_value(code).unwrap(), name);
        assert_eq!(
            serde_json::from_value::<OAuthErrorCode>(name.into()).unwrap(),
            code
        );
        assert!((400..600).contains(&code.status()), "{name}");
    }
    assert!(serde_json::from_str::<OAuthErrorCode>("\"no_such_code\"").is_err());
}

/// A ticket of a device authorization or a form that is not said are absent, not null.
#[test]
fn what_is_older_than_device_authorizations_is_read() {
    let scan: QrMatch = serde_json::from_str(r#"{"mode":"phone_types"}"#).unwrap();
    assert_eq!(scan.form, MatchForm::Digits);
    assert_eq!(json(&scan), br#"{"mode":"phone_types"}"#);
}

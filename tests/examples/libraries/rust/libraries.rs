//! rspotify, unmodified, pointed at a running service by its own option `auth_base_url`.

#![cfg(test)]

use std::env::var;

use rspotify::{
    http::HttpError,
    prelude::{BaseClient, OAuthClient},
    scopes, AuthCodePkceSpotify, ClientCredsSpotify, ClientError, Config, Credentials, OAuth,
    Token,
};

fn config() -> Config {
    Config {
        auth_base_url: var("SERVICE").unwrap(),
        ..Default::default()
    }
}

/// Return a client; `refresh_token` is that of an earlier login.
fn client(refresh_token: Option<String>) -> AuthCodePkceSpotify {
    let credentials = Credentials::new_pkce("simulator-client-id");
    let oauth = OAuth {
        redirect_uri: "http://127.0.0.1:8888/callback".into(),
        scopes: scopes!("user-read-email"),
        ..Default::default()
    };
    let client = AuthCodePkceSpotify::with_config(credentials, oauth, config());
    *client.token.lock().unwrap() = Some(Token {
        refresh_token,
        ..Default::default()
    });
    client
}

/// Agree on Spotify's page, to which the service redirects; return where the browser is sent.
fn agree(url: &str) -> String {
    let browser = ureq::AgentBuilder::new().redirects(0).build();
    let consent = browser.get(url).call().unwrap();
    let request = browser.post(consent.header("Location").unwrap());
    let back = request.send_form(&[("decision", "allow")]).unwrap();
    back.header("Location").unwrap().into()
}

fn logged_in() -> AuthCodePkceSpotify {
    let mut client = client(None);
    let url = client.get_authorize_url(None).unwrap();
    let code = client.parse_response_code(&agree(&url)).unwrap();
    client.request_token(&code).unwrap();
    client
}

fn access_token(client: &AuthCodePkceSpotify) -> String {
    client
        .token
        .lock()
        .unwrap()
        .as_ref()
        .unwrap()
        .access_token
        .clone()
}

/// Refresh; return the status and the body of the error that the library reports.
fn refused(client: &AuthCodePkceSpotify) -> (u16, String) {
    match client.refresh_token() {
        Err(ClientError::Http(error)) => match *error {
            HttpError::StatusCode(response) => (response.status(), response.into_string().unwrap()),
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn login() {
    let client = logged_in();
    let token = client.token.lock().unwrap().clone().unwrap();
    assert!(token.access_token.starts_with("BQ"));
    assert!(token.refresh_token.is_some());
}

#[test]
fn refresh_twice() {
    let client = logged_in();
    let first = access_token(&client);
    client.refresh_token().unwrap();
    let second = access_token(&client);
    client.refresh_token().unwrap();
    assert!(first != second && second != access_token(&client));
}

#[test]
fn lost_key() {
    let (status, body) = refused(&client(var("LOST_TOKEN").ok()));
    assert_eq!(status, 400);
    assert!(body.contains(r#""error":"invalid_grant""#), "{body}");
}

#[test]
fn spotify_down() {
    let client = logged_in();
    let fault = r#"{"kind": "answer", "status": 503, "body": "no healthy upstream"}"#;
    ureq::post(&format!("{}/admin/faults", var("SIMULATOR").unwrap()))
        .send_string(fault)
        .unwrap();
    let (status, body) = refused(&client);
    assert_eq!(status, 503);
    assert!(
        body.contains(r#""error":"temporarily_unavailable""#),
        "{body}"
    );
    client.refresh_token().unwrap();
}

#[test]
fn client_credentials() {
    let client = ClientCredsSpotify::with_config(
        Credentials::new("simulator-client-id", "unused"),
        config(),
    );
    client.request_token().unwrap();
    assert!(client
        .token
        .lock()
        .unwrap()
        .as_ref()
        .unwrap()
        .access_token
        .starts_with("BQ"));
}

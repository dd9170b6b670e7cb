use std::sync::atomic::{AtomicUsize, Ordering};

use agentx_core::{Error, ErrorKind};
use jsonwebtoken::{EncodingKey, encode, jwk::Jwk};
use serde_json::json;

use super::*;

/// An issuer that can be made to fail, and counts how often it is asked.
#[derive(Clone, Debug, Default)]
struct Issuer {
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl JwksSource for Issuer {
    async fn fetch(&self) -> Result<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let keys = self.keys.lock().unwrap().clone();
        keys.map(|keys| keys.to_string().into_bytes())
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "fetch"))
    }
}

impl Issuer {
    fn of(keys: &[Value]) -> Self {
        let issuer = Self::default();
        issuer.has(keys);
        issuer
    }

    fn has(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = Some(json!({"keys": keys}));
    }

    fn fails(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A private key of Ed25519 of this seed, as PKCS #8 has it.
fn ed25519(seed: u8) -> EncodingKey {
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend([seed; 32]);
    EncodingKey::from_ed_der(&der)
}

const ED: jsonwebtoken::Algorithm = jsonwebtoken::Algorithm::EdDSA;

/// What an issuer tells of a key.
fn public(key: &EncodingKey, algorithm: jsonwebtoken::Algorithm, id: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    json!(jwk)
}

fn seconds_from_now(seconds: i64) -> i64 {
    i64::try_from(crate::tenant::now().as_millis() / 1_000).unwrap() + seconds
}

/// Claims that are good, but for these.
fn claims(changes: &Value) -> Value {
    let mut claims =
        json!({"iss": "https://issuer", "aud": "agents", "sub": "ann", "exp": seconds_from_now(600)});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn token(key: &EncodingKey, algorithm: jsonwebtoken::Algorithm, id: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = id.map(str::to_owned);
    encode(&header, claims, key).unwrap()
}

fn good(changes: &Value) -> String {
    token(&ed25519(1), ED, Some("one"), &claims(changes))
}

fn jwt(issuer: &Issuer, options: JwtOptions) -> Jwt {
    Jwt::new(issuer.clone(), options)
}

fn options() -> JwtOptions {
    JwtOptions::new("https://issuer", "agents").with_leeway(Duration::ZERO)
}

async fn owner(jwt: &Jwt, token: &str) -> Option<Owner> {
    match jwt.authenticate(&Credentials::bearer(token)).await.unwrap()?.scope {
        crate::auth::Scope::Owner(owner) => Some(owner),
        crate::auth::Scope::Admin => panic!("a token makes no administrator"),
    }
}

#[tokio::test]
async fn a_good_token_stands_for_its_owner_until_its_end() {
    let issuer = Issuer::of(&[public(&ed25519(1), ED, "one")]);
    let jwt = jwt(&issuer, options());
    let end = seconds_from_now(600);
    let credentials = Credentials::bearer(good(&json!({"exp": end})));
    for _ in 0..3 {
        let identity = jwt.authenticate(&credentials).await.unwrap().unwrap();
        assert_eq!(identity.scope, crate::auth::Scope::Owner(Owner::new("ann").unwrap()));
        assert_eq!(identity.until.map(Timestamp::as_millis), u64::try_from(end * 1_000).ok());
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn each_algorithm_is_checked() {
    const ES256: jsonwebtoken::Algorithm = jsonwebtoken::Algorithm::ES256;
    const RS256: jsonwebtoken::Algorithm = jsonwebtoken::Algorithm::RS256;
    // Keys of this test alone.
    let ec = EncodingKey::from_ec_der(include_bytes!("tests/ec.der"));
    let rsa = EncodingKey::from_rsa_der(include_bytes!("tests/rsa.der"));
    let issuer = Issuer::of(&[public(&ec, ES256, "ec"), public(&rsa, RS256, "rsa")]);
    let jwt = jwt(&issuer, options());
    for (key, algorithm, id) in [(&ec, ES256, "ec"), (&rsa, RS256, "rsa")] {
        let signed = token(key, algorithm, Some(id), &claims(&json!({})));
        assert!(owner(&jwt, &signed).await.is_some(), "{id}");
        // Another's payload under this signature.
        let (head, rest) = signed.split_once('.').unwrap();
        let signature = rest.split_once('.').unwrap().1;
        let forged = good(&json!({"sub": "bob"}));
        let payload = forged.split('.').nth(1).unwrap();
        assert_eq!(owner(&jwt, &format!("{head}.{payload}.{signature}")).await, None, "{id}");
    }
}

#[tokio::test]
async fn what_a_token_must_say_is_asked_for() {
    let issuer = Issuer::of(&[public(&ed25519(1), ED, "one")]);
    let jwt = jwt(&issuer, options());
    assert!(owner(&jwt, &good(&json!({"aud": ["other", "agents"]}))).await.is_some());
    for wrong in [
        json!({"iss": "https://other"}),
        json!({"iss": null}),
        json!({"aud": "others"}),
        json!({"aud": null}),
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"exp": seconds_from_now(-1)}),
        json!({"nbf": seconds_from_now(60)}),
        json!({"sub": null}),
        json!({"sub": 7}),
        json!({"sub": "a:b"}),
        json!({"sub": ""}),
    ] {
        assert_eq!(owner(&jwt, &good(&wrong)).await, None, "{wrong}");
    }
    let by_claim = Jwt::new(issuer, options().with_owner_claim("tenant"));
    let named = owner(&by_claim, &good(&json!({"tenant": "bob"}))).await;
    assert_eq!(named, Some(Owner::new("bob").unwrap()));
}

/// The attacks on tokens that everybody knows: no signature, the public key as a shared secret, another's key, an
/// algorithm that is not allowed, extensions that must be understood.
#[tokio::test]
async fn what_is_not_signed_as_agreed_stands_for_nobody() {
    let issuer = Issuer::of(&[public(&ed25519(1), ED, "one")]);
    let jwt = jwt(&issuer, options());
    let signed = good(&json!({}));
    let payload = signed.split('.').nth(1).unwrap();
    let with_header = |header: Value| {
        let head = Header::default();
        let secret = EncodingKey::from_secret(&[1; 32]);
        let encoded = encode(&head, &header, &secret).unwrap();
        // The header travels as a payload does.
        let header = encoded.split('.').nth(1).unwrap().to_owned();
        let signature = signed.rsplit('.').next().unwrap();
        format!("{header}.{payload}.{signature}")
    };
    let secret = EncodingKey::from_secret(&[1; 32]);
    let wrong = [
        with_header(json!({"alg": "none", "kid": "one"})),
        with_header(json!({"alg": "EdDSA", "kid": "one", "crit": ["exp"]})),
        token(&secret, jsonwebtoken::Algorithm::HS256, Some("one"), &claims(&json!({}))),
        token(&ed25519(2), ED, Some("one"), &claims(&json!({}))),
        signed.rsplit_once('.').unwrap().0.to_owned() + ".",
        signed.clone() + "A",
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{}.{payload}.x", "A".repeat(LONGEST)),
    ];
    for token in wrong {
        assert_eq!(owner(&jwt, &token).await, None, "{token}");
    }
    let strict = Jwt::new(issuer, options().with_algorithms(vec![Algorithm::Rs256]));
    assert_eq!(owner(&strict, &signed).await, None);
}

#[tokio::test]
async fn a_key_that_is_new_is_asked_for_and_one_that_is_gone_opens_nothing() {
    let issuer = Issuer::of(&[public(&ed25519(1), ED, "one")]);
    let often = options().with_refresh(Duration::ZERO, Duration::from_mins(1));
    let jwt = jwt(&issuer, often);
    let first = good(&json!({}));
    assert!(owner(&jwt, &first).await.is_some());
    issuer.has(&[public(&ed25519(2), ED, "two")]);
    let second = token(&ed25519(2), ED, Some("two"), &claims(&json!({})));
    assert!(owner(&jwt, &second).await.is_some());
    assert_eq!(owner(&jwt, &first).await, None);
    // Where the issuer does not answer, what is known holds on.
    issuer.fails();
    assert!(owner(&jwt, &second).await.is_some());
}

#[tokio::test]
async fn names_that_are_made_up_do_not_make_it_ask() {
    let issuer = Issuer::of(&[public(&ed25519(1), ED, "one")]);
    let jwt = jwt(&issuer, options());
    for number in 0..50 {
        let id = format!("made up {number}");
        assert_eq!(owner(&jwt, &token(&ed25519(1), ED, Some(&id), &claims(&json!({})))).await, None);
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn without_keys_nobody_can_be_told() {
    let issuer = Issuer::default();
    let down = jwt(&issuer, options());
    // Of many who come meanwhile, one asks.
    for _ in 0..5 {
        let unknown = down.authenticate(&Credentials::bearer(good(&json!({})))).await;
        assert_eq!(unknown.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(issuer.asked(), 1);
    // Keys that are too old are none.
    issuer.has(&[public(&ed25519(1), ED, "one")]);
    let old = jwt(&issuer, options().with_refresh(Duration::ZERO, Duration::ZERO));
    assert!(owner(&old, &good(&json!({}))).await.is_some());
    issuer.fails();
    assert!(old.authenticate(&Credentials::bearer(good(&json!({})))).await.is_err());
}

/// What an issuer may say by mistake, or somebody in its place.
#[tokio::test]
async fn keys_that_are_none_are_left_out() {
    let mut short = public(&ed25519(1), ED, "short");
    short["x"] = json!("AAAA");
    let mut other_use = public(&ed25519(1), ED, "one");
    other_use["use"] = json!("enc");
    let secret = json!({"kty": "oct", "k": "AAAA", "kid": "one", "alg": "EdDSA"});
    let unknown = json!({"kty": "XYZ", "kid": "one"});
    let issuer = Issuer::of(&[short, other_use, secret, unknown]);
    let none = jwt(&issuer, options());
    assert_eq!(owner(&none, &good(&json!({}))).await, None);
    assert_eq!(owner(&none, &token(&ed25519(1), ED, Some("short"), &claims(&json!({})))).await, None);

    let many: Vec<Value> = (0..65).map(|_| public(&ed25519(1), ED, "one")).collect();
    let too_many = jwt(&Issuer::of(&many), options());
    assert!(too_many.authenticate(&Credentials::bearer(good(&json!({})))).await.is_err());
}

#[tokio::test]
async fn keys_are_read_from_a_file() {
    use agentx_resource::{FileSystemExt, ResourcePath, memory::MemoryFileSystem};
    let (files, path) = (Arc::new(MemoryFileSystem::new()), ResourcePath::new("/jwks.json").unwrap());
    let keys = json!({"keys": [public(&ed25519(1), ED, "one")]});
    files.write_file(&path, keys.to_string().into_bytes()).await.unwrap();
    let jwt = Jwt::new(JwksFile::new(files, path), options());
    assert!(owner(&jwt, &good(&json!({}))).await.is_some());
}

#[test]
fn keys_come_over_a_way_that_nobody_changes() {
    for url in ["https://issuer.example/jwks", "http://127.0.0.1:9/jwks", "http://localhost/jwks"] {
        assert!(JwksUrl::new(url).is_ok(), "{url}");
    }
    for url in [
        "http://issuer.example/jwks",
        "file:///etc/passwd",
        "ftp://localhost/",
        "",
        "http://127.0.0.1.evil.example/",
    ] {
        assert_eq!(JwksUrl::new(url).unwrap_err().kind(), ErrorKind::InvalidInput, "{url}");
    }
}

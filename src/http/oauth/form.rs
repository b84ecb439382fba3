//! Forms (`application/x-www-form-urlencoded`), read strictly: what two readers might understand differently is refused.

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;
use countersign_protocol::ErrorCode;

use crate::node::{OAuthRefusal, Refusal};

/// Most parameters of a form. The requests here have at most six.
const PARAMETERS_MAX: usize = 32;
const FORM: &str = "application/x-www-form-urlencoded";

/// Parameters of a request. They hold secrets, and are not printed.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a request's body.
    pub(super) async fn of(request: Request) -> Result<Self, OAuthRefusal> {
        let mut kinds = request.headers().get_all(header::CONTENT_TYPE).iter();
        let kind = kinds.next().and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
        let is_form = kind.is_some_and(|kind| kind.eq_ignore_ascii_case(FORM));
        if !is_form || kinds.next().is_some() {
            let told = format!("send the parameters as {FORM}");
            return Err(OAuthRefusal::invalid_request(told));
        }
        let bytes = Bytes::from_request(request, &()).await.map_err(|e| match e {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Refusal::new(ErrorCode::TooLarge, "a request body is at most 65536 bytes")
            }
            _ => Refusal::bad_request("the body did not arrive"),
        })?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, OAuthRefusal> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|b| *b == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            let malformed = || OAuthRefusal::invalid_request("the parameters are not form-urlencoded UTF-8");
            let name = decoded(name).ok_or_else(malformed)?;
            let value = decoded(value).ok_or_else(malformed)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(OAuthRefusal::invalid_request("a parameter is given twice"));
            }
            if parameters.len() == PARAMETERS_MAX {
                let told = format!("at most {PARAMETERS_MAX} parameters");
                return Err(OAuthRefusal::invalid_request(told));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// A parameter; one without a value is not there (RFC 6749 §3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A parameter that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, OAuthRefusal> {
        self.get(name)
            .ok_or_else(|| OAuthRefusal::invalid_request(format!("{name} is missing")))
    }
}

/// A name or value as it was before it was encoded. `None`: it cannot have been.
pub(super) fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            _ => *byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Form, OAuthRefusal> {
        Form::parse(text.as_bytes())
    }

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let form = parse("a=1&b=x+y%2B%26%3D&c&d=&&e=%E2%82%ac").unwrap();
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b"), Some("x y+&="));
        assert_eq!((form.get("c"), form.get("d"), form.get("f")), (None, None, None));
        assert_eq!(form.get("e"), Some("€"));
        assert!(parse("").is_ok());
    }

    #[test]
    fn what_is_none_is_refused() {
        let many: String = (0..=PARAMETERS_MAX).map(|n| format!("p{n}=1&")).collect();
        for wrong in [
            "a=%", "a=%1", "a=%zz", "%=1", "a=%ff", "a=1&a=1", "a=&%61=", &many,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let most: String = (0..PARAMETERS_MAX).map(|n| format!("p{n}=1&")).collect();
        assert!(parse(&most).is_ok());
    }
}

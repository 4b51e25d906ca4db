//! What a client is told when it does not get what it asked for: codes, words, languages.

use std::collections::BTreeMap;
use std::fmt;

use domain::account::command::Refusal;
use domain::instrument::NotAnInstrument;
use poem::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use poem::http::{HeaderValue, StatusCode};
use poem::{Response, error::ResponseError};
use poem_openapi::error::{ParseParamError, ParsePathError};
use serde::Serialize;
use tracing::error;

/// Seconds after which a client may try again what does not depend on it.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How somebody who is nobody is told to say who they are, and how when their token is not good.
const CHALLENGE: &str = "Bearer realm=\"entasis\"";
const CHALLENGE_INVALID: &str = "Bearer realm=\"entasis\", error=\"invalid_token\"";

/// Fields of which it is told what is wrong with them. Of more, the first: an answer is not to be many
/// times as long as its request.
const FIELDS_TOLD_MAX: usize = 32;

/// What went wrong, in one word that is never translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    TooLarge,
    UriTooLong,
    UnsupportedMediaType,
    TooManyRequests,
    Internal,
    Unavailable,
    InvalidSymbol,
    VenueUnreachable,
    InsufficientBalance,
    PositionLimit,
    PositionNotOpen,
    ModelNotLoaded,
    PredictionFailed,
    KeyReused,
    KeyInProgress,
    LogUnreachable,
    ViewsBehind,
    Overloaded,
    WsNotAuthenticated,
    WsExpired,
    WsScope,
    WsNotJson,
    WsUnknown,
    WsBadParameter,
    WsTooManySubscriptions,
    WsTooManyMessages,
}

/// How a code is written, the status it comes with, and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    pub code: &'static str,
    /// The status where nothing else is said. Codes of the WebSocket have none of their own.
    pub status: StatusCode,
    pub korean: &'static str,
    pub english: &'static str,
}

impl Code {
    pub const fn words(self) -> Words {
        // The Korean words of the specification are kept to the byte; a test compares them.
        let (code, status, korean, english) = match self {
            Self::BadRequest => ("400", 400, "잘못된 요청", "bad request"),
            Self::Unauthorized => ("401", 401, "인증 실패", "authentication failed"),
            Self::Forbidden => ("403", 403, "권한 없음", "forbidden"),
            Self::NotFound => ("404", 404, "리소스 없음", "not found"),
            Self::MethodNotAllowed => ("405", 405, "허용되지 않은 메서드", "method not allowed"),
            Self::TooSlow => ("408", 408, "요청 시간 초과", "request took too long"),
            Self::TooLarge => ("413", 413, "요청이 너무 큼", "too large"),
            Self::UriTooLong => ("414", 414, "주소가 너무 김", "address too long"),
            Self::UnsupportedMediaType => {
                ("415", 415, "지원하지 않는 형식", "unsupported media type")
            }
            Self::TooManyRequests => ("429", 429, "요청 한도 초과", "rate limit exceeded"),
            Self::Internal => ("500", 500, "서버 내부 오류", "internal error"),
            Self::Unavailable => ("503", 503, "서비스 이용 불가", "unavailable"),
            Self::InvalidSymbol => ("MARKET_001", 404, "유효하지 않은 심볼", "invalid symbol"),
            Self::VenueUnreachable => {
                ("MARKET_002", 503, "거래소 연결 실패", "exchange connection failed")
            }
            Self::InsufficientBalance => ("PORT_001", 400, "잔액 부족", "insufficient balance"),
            Self::PositionLimit => ("PORT_002", 400, "포지션 한도 초과", "position limit exceeded"),
            Self::PositionNotOpen => {
                ("PORT_003", 400, "열려 있지 않은 포지션", "position is not open")
            }
            Self::ModelNotLoaded => ("AI_001", 503, "모델 로딩 실패", "model loading failed"),
            Self::PredictionFailed => ("AI_002", 500, "예측 실패", "prediction failed"),
            Self::KeyReused => {
                ("IDEM_001", 422, "멱등 키 재사용", "key reused with another command")
            }
            Self::KeyInProgress => ("IDEM_002", 409, "요청 처리 중", "still in progress"),
            Self::LogUnreachable => ("SYS_001", 503, "저장소 연결 실패", "log unavailable"),
            Self::ViewsBehind => ("SYS_002", 503, "조회 데이터 지연", "views behind"),
            Self::Overloaded => ("SYS_003", 503, "서버 과부하", "overloaded"),
            Self::WsNotAuthenticated => ("AUTH_001", 401, "인증되지 않음", "not authenticated"),
            Self::WsExpired => ("AUTH_002", 401, "인증 만료", "authentication expired"),
            Self::WsScope => ("AUTH_003", 403, "권한 범위 부족", "scope missing"),
            Self::WsNotJson => ("WS_001", 400, "JSON 형식이 아님", "not JSON"),
            Self::WsUnknown => {
                ("WS_002", 400, "알 수 없는 동작 또는 채널", "unknown action or channel")
            }
            Self::WsBadParameter => ("WS_003", 400, "잘못된 매개변수", "bad parameter"),
            Self::WsTooManySubscriptions => {
                ("WS_004", 400, "구독 한도 초과", "too many subscriptions")
            }
            Self::WsTooManyMessages => ("WS_005", 400, "메시지 한도 초과", "too many messages"),
        };
        let Ok(status) = StatusCode::from_u16(status) else { panic!("a status of the table") };
        Words { code, status, korean, english }
    }

    /// Returns the code of a refusal by its name.
    fn of_refusal(name: &str) -> Self {
        match name {
            "404" => Self::NotFound,
            "PORT_001" => Self::InsufficientBalance,
            "PORT_002" => Self::PositionLimit,
            "PORT_003" => Self::PositionNotOpen,
            _ => Self::BadRequest,
        }
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::TooSlow,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::URI_TOO_LONG => Self::UriTooLong,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::TOO_MANY_REQUESTS => Self::TooManyRequests,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_client_error() => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}

/// The languages in which we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Korean,
    English,
}

impl Language {
    /// Returns Korean, unless `Accept-Language` prefers English.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut best = (Self::Korean, 0.0);
        let values =
            headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let quality =
                parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse().ok());
            let language = match tag.trim().split('-').next() {
                Some(tag) if tag.eq_ignore_ascii_case("ko") => Self::Korean,
                Some(tag) if tag.eq_ignore_ascii_case("en") => Self::English,
                _ => continue,
            };
            if let Some(quality) = quality.filter(|quality| *quality > best.1) {
                best = (language, quality);
            }
        }
        best.0
    }

    pub const fn tag(self) -> &'static str {
        match self {
            Self::Korean => "ko",
            Self::English => "en",
        }
    }

    /// Returns the words of a code in this language.
    pub const fn say(self, code: Code) -> &'static str {
        match self {
            Self::Korean => code.words().korean,
            Self::English => code.words().english,
        }
    }
}

/// A part of the request that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    pub field: String,
    pub reason: String,
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    pub status: StatusCode,
    pub detail: String,
    pub errors: Vec<FieldProblem>,
    /// The figures behind the detail, by name.
    pub arithmetic: BTreeMap<String, String>,
    /// Seconds after which to come again, where that is known.
    pub retry_after: Option<u64>,
    /// Whether a token was sent with what is told not to be good.
    pub token_sent: bool,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.words().status;
        Self {
            code,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            arithmetic: BTreeMap::new(),
            retry_after: None,
            token_sent: false,
        }
    }

    /// Returns the problem of whoever came too often, and may come again after so many seconds.
    pub fn too_many(detail: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Code::TooManyRequests, detail) }
    }

    /// Returns the problem of what a rule refuses, with its figures.
    pub fn refused(refusal: &Refusal) -> Self {
        let code = Code::of_refusal(refusal.code());
        Self { arithmetic: refusal.arithmetic(), ..Self::new(code, refusal.to_string()) }
    }

    /// Returns the problem of a field that cannot be used.
    pub fn field(field: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self {
            errors: vec![FieldProblem { field: field.to_owned(), reason: reason.clone() }],
            ..Self::new(Code::BadRequest, format!("{field}: {reason}"))
        }
    }

    /// Returns the problem of fields that cannot be used, of which there is at least one.
    pub fn fields(mut errors: Vec<FieldProblem>) -> Self {
        errors.truncate(FIELDS_TOLD_MAX);
        let told = |error: &FieldProblem| format!("{}: {}", error.field, error.reason);
        let detail = errors.iter().map(told).collect::<Vec<_>>().join("; ");
        let malformed = NotAnInstrument.to_string();
        match errors.as_slice() {
            [only] if only.field == "symbol" && only.reason == malformed => {
                Self::malformed_symbol(&malformed)
            }
            _ => Self { errors, ..Self::new(Code::BadRequest, detail) },
        }
    }

    /// Returns the problem of a symbol that is not written like one.
    pub fn malformed_symbol(reason: &str) -> Self {
        Self {
            code: Code::InvalidSymbol,
            detail: reason.to_owned(),
            ..Self::field("symbol", reason)
        }
    }

    /// Returns what to tell about an error of ours or of poem's.
    pub fn of(error: &poem::Error) -> Self {
        if let Some(problem) = error.downcast_ref::<Self>() {
            return problem.clone();
        }
        if let Some(ParsePathError { name, reason }) = error.downcast_ref() {
            // poem-openapi numbers the parameters of a path, so the name is that of the type.
            let (field, reason) = told(reason).unwrap_or((name, reason));
            return match field {
                "symbol" => Self::malformed_symbol(reason),
                field => Self::field(field, reason),
            };
        }
        if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
            return Self::field(name, told(reason).map_or(reason.as_str(), |(_, reason)| reason));
        }
        let code = Code::of_status(error.status());
        if code == Code::Internal {
            error!(%error, "a request failed");
            return Self::new(code, "");
        }
        Self::new(code, error.to_string())
    }

    /// Returns the answer that tells it, in the form and the language that the client prefers.
    pub fn answer(&self, wishes: &Wishes, request_id: &str) -> Response {
        let body = ErrorBody {
            code: self.code.words().code,
            message: wishes.language.say(self.code),
            request_id,
            detail: &self.detail,
            errors: &self.errors,
            arithmetic: &self.arithmetic,
        };
        let body = serde_json::to_vec(&body).expect("texts can always be written as JSON");
        let mut response = Response::from(body);
        response.set_status(self.status);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(wishes.error_type));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(wishes.language.tag()));
        headers.append(VARY, HeaderValue::from_static("Accept-Language"));
        headers.append(VARY, HeaderValue::from_static("Accept"));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let seconds = self.retry_after.unwrap_or(RETRY_AFTER_SECONDS);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = if self.token_sent { CHALLENGE_INVALID } else { CHALLENGE };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Takes apart what poem-openapi says of a value: `failed to parse "time": not a time`, and for a
/// parameter that may be absent, ` (occurred while parsing "optional_time")` behind it.
fn told(reason: &str) -> Option<(&str, &str)> {
    let (kind, reason) = reason.strip_prefix("failed to parse \"")?.split_once("\": ")?;
    let reason =
        reason.split_once(" (occurred while parsing ").map_or(reason, |(reason, _)| reason);
    Some((kind, reason))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.words().code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }
}

/// How a client wants to be told.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    pub language: Language,
    pub error_type: &'static str,
}

impl Wishes {
    pub fn of(headers: &HeaderMap) -> Self {
        let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let error_type = if accepts.contains("application/problem+json") {
            "application/problem+json"
        } else {
            "application/json; charset=utf-8"
        };
        Self { language: Language::of(headers), error_type }
    }
}

#[derive(Debug, Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    detail: &'a str,
    errors: &'a [FieldProblem],
    /// Only where there are any: most problems have no figures.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    arithmetic: &'a BTreeMap<String, String>,
}

#[cfg(test)]
mod tests;

//! Codes, words, languages.

use super::*;

/// The two tables of the specification, as they stand there.
const STATUS_CODES: &str = r#"{
  "400": "잘못된 요청",
  "401": "인증 실패",
  "403": "권한 없음",
  "404": "리소스 없음",
  "429": "요청 한도 초과",
  "500": "서버 내부 오류"
}"#;
const BUSINESS_CODES: &str = r#"{
  "MARKET_001": "유효하지 않은 심볼",
  "MARKET_002": "거래소 연결 실패",
  "PORT_001": "잔액 부족",
  "PORT_002": "포지션 한도 초과",
  "AI_001": "모델 로딩 실패",
  "AI_002": "예측 실패"
}"#;

const SPECIFIED: [Code; 12] = [
    Code::BadRequest,
    Code::Unauthorized,
    Code::Forbidden,
    Code::NotFound,
    Code::TooManyRequests,
    Code::Internal,
    Code::InvalidSymbol,
    Code::VenueUnreachable,
    Code::InsufficientBalance,
    Code::PositionLimit,
    Code::ModelNotLoaded,
    Code::PredictionFailed,
];

#[test]
fn every_code_of_the_specification_has_its_words_to_the_byte() {
    let mut specified: BTreeMap<String, String> = serde_json::from_str(STATUS_CODES).unwrap();
    specified.append(&mut serde_json::from_str(BUSINESS_CODES).unwrap());

    let words = SPECIFIED.map(|code| (code.words().code, code.words().korean));
    let ours = words.map(|(code, words)| (code.to_owned(), words.to_owned())).into();

    assert_eq!(specified, ours);
}

/// The others, each with its status and its words in both languages.
const OURS: [(Code, &str, u16, &str, &str); 22] = [
    (Code::MethodNotAllowed, "405", 405, "허용되지 않은 메서드", "method not allowed"),
    (Code::TooSlow, "408", 408, "요청 시간 초과", "request took too long"),
    (Code::TooLarge, "413", 413, "요청이 너무 큼", "too large"),
    (Code::UriTooLong, "414", 414, "주소가 너무 김", "address too long"),
    (Code::UnsupportedMediaType, "415", 415, "지원하지 않는 형식", "unsupported media type"),
    (Code::Unavailable, "503", 503, "서비스 이용 불가", "unavailable"),
    (Code::PositionNotOpen, "PORT_003", 400, "열려 있지 않은 포지션", "position is not open"),
    (Code::KeyReused, "IDEM_001", 422, "멱등 키 재사용", "key reused with another command"),
    (Code::KeyInProgress, "IDEM_002", 409, "요청 처리 중", "still in progress"),
    (Code::LogUnreachable, "SYS_001", 503, "저장소 연결 실패", "log unavailable"),
    (Code::ViewsBehind, "SYS_002", 503, "조회 데이터 지연", "views behind"),
    (Code::Overloaded, "SYS_003", 503, "서버 과부하", "overloaded"),
    (Code::WsNotAuthenticated, "AUTH_001", 401, "인증되지 않음", "not authenticated"),
    (Code::WsExpired, "AUTH_002", 401, "인증 만료", "authentication expired"),
    (Code::WsScope, "AUTH_003", 403, "권한 범위 부족", "scope missing"),
    (Code::WsNotJson, "WS_001", 400, "JSON 형식이 아님", "not JSON"),
    (Code::WsUnknown, "WS_002", 400, "알 수 없는 동작 또는 채널", "unknown action or channel"),
    (Code::WsBadParameter, "WS_003", 400, "잘못된 매개변수", "bad parameter"),
    (Code::WsTooManySubscriptions, "WS_004", 400, "구독 한도 초과", "too many subscriptions"),
    (Code::WsTooManyMessages, "WS_005", 400, "메시지 한도 초과", "too many messages"),
    (Code::TooManyRequests, "429", 429, "요청 한도 초과", "rate limit exceeded"),
    (Code::Forbidden, "403", 403, "권한 없음", "forbidden"),
];

#[test]
fn every_code_of_ours_has_its_words_in_both_languages() {
    for (code, name, status, korean, english) in OURS {
        let words = code.words();
        assert_eq!((words.code, words.status.as_u16()), (name, status));
        assert_eq!(Language::Korean.say(code), korean);
        assert_eq!(Language::English.say(code), english);
    }
}

#[test]
fn who_is_not_let_in_is_told_how_to_be_and_who_comes_too_often_when_to_come() {
    let wishes = Wishes::of(&HeaderMap::new());
    let unknown = Problem::new(Code::Unauthorized, "");
    let challenge = |problem: &Problem| {
        let answer = problem.answer(&wishes, "id");
        answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned()
    };
    assert_eq!(challenge(&unknown), r#"Bearer realm="entasis""#);
    let token_sent = Problem { token_sent: true, ..unknown };
    assert_eq!(challenge(&token_sent), r#"Bearer realm="entasis", error="invalid_token""#);

    for (problem, seconds) in [
        (Problem::too_many("", 37), "37"),
        (Problem::new(Code::TooManyRequests, ""), "5"),
        (Problem::new(Code::ViewsBehind, ""), "5"),
    ] {
        assert_eq!(problem.answer(&wishes, "id").headers()[RETRY_AFTER], seconds);
    }
}

#[test]
fn a_status_code_is_its_own_status() {
    for code in SPECIFIED {
        let Words { code, status, .. } = code.words();
        assert!(code.contains('_') || code == status.as_str(), "{code}");
    }
}

#[test]
fn korean_is_spoken_unless_english_is_preferred() {
    use Language::{English, Korean};
    for (accept, language) in [
        ("", Korean),
        ("*", Korean),
        ("fr", Korean),
        ("en", English),
        ("en-US,en;q=0.9,ko;q=0.8", English),
        ("ko-KR,ko;q=0.9,en-US;q=0.8", Korean),
        ("en;q=0.2, ko;q=0.3", Korean),
        ("en;q=0", Korean),
        ("EN-gb", English),
        ("en;q=nonsense", Korean),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, accept.parse().unwrap());

        assert_eq!(Language::of(&headers), language, "{accept}");
    }
}

//! How somebody is let in: what they present is judged, what fails is counted and recorded, and what
//! is asked is counted.

use std::net::IpAddr;

use domain::access::event::AccessEvent;
use domain::keys::key::KeyId;
use poem::http::HeaderMap;
use poem::http::header::AUTHORIZATION;
use tracing::info;

use crate::allowance::seconds;
use crate::app::App;
use crate::auth::credentials::{Credentials, Unreadable};
use crate::auth::judge::Denied;
use crate::limits::Verdict;
use crate::principal::Principal;
use crate::problem::{Code, Problem};

/// The word for the record of headers that cannot be read as credentials.
const UNREADABLE: &str = "credentials_unreadable";

impl App {
    /// Returns whom the headers of a request say that it comes from; `None` when they say nothing.
    pub fn admit_headers(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        request_id: &str,
    ) -> Result<Option<Principal>, Problem> {
        let admitted = match Credentials::of(headers) {
            Ok(presented) if presented.is_empty() => return Ok(None),
            Ok(presented) => self.admit(&presented, address, request_id),
            Err(Unreadable(detail)) => {
                let detail = detail.to_owned();
                let denied = Denied::Failed { word: UNREADABLE, detail, key: None };
                Err(self.denied(&denied, address, request_id))
            }
        };
        let token_sent = headers.contains_key(AUTHORIZATION);
        admitted.map(Some).map_err(|problem| Problem { token_sent, ..problem })
    }

    /// Returns who presents this.
    pub fn admit(
        &self,
        presented: &Credentials,
        address: IpAddr,
        request_id: &str,
    ) -> Result<Principal, Problem> {
        self.judge(presented, address).map_err(|denied| self.denied(&denied, address, request_id))
    }

    /// Records that somebody was not let in, counts it where they have failed, and returns what to
    /// tell them.
    pub fn denied(&self, denied: &Denied, address: IpAddr, request_id: &str) -> Problem {
        match denied {
            Denied::Failed { word, detail, key } => {
                info!(request_id, %address, reason = word, "an authentication failed");
                self.gate.trail.note(
                    Some(address),
                    AccessEvent::AuthenticationFailed {
                        at: self.clock.now(),
                        address,
                        reason: (*word).to_owned(),
                        key: key.clone(),
                        request_id: request_id.to_owned(),
                    },
                );
                // Judged before it is counted: who has a good key is let in, whoever else comes from
                // there and guesses.
                let max = self.gate.rules.load().failures_ip_max;
                let verdict = self.gate.limits.failure(address, max);
                if verdict.accepted {
                    return Problem::new(Code::Unauthorized, detail.clone());
                }
                let detail = "too many failed authentications from this address";
                Problem::too_many(detail, seconds(verdict.reset))
            }
            Denied::Address { key } => {
                self.address_denied(address, Some(key), request_id);
                Problem::new(Code::Forbidden, "the key may not be used from this address")
            }
        }
    }

    /// Records that somebody came from where they may not come.
    pub fn address_denied(&self, address: IpAddr, key: Option<&KeyId>, request_id: &str) {
        info!(request_id, %address, key = key.map(KeyId::as_str), "an address is denied");
        self.gate.trail.note(
            Some(address),
            AccessEvent::AddressDenied {
                at: self.clock.now(),
                address,
                key: key.cloned(),
                request_id: request_id.to_owned(),
            },
        );
    }

    /// Counts a request of an address, whoever asks.
    pub fn count_address(&self, address: IpAddr) -> Result<(), Problem> {
        let max = self.gate.rules.load().requests_ip_max;
        let verdict = self.gate.limits.address(address, max);
        if verdict.accepted {
            return Ok(());
        }
        Err(Problem::too_many("too many requests from this address", seconds(verdict.reset)))
    }

    /// Counts a request of an account, and returns what to say of it on the answer. Where it is not
    /// accepted: [`App::spent`]. Where several nodes share the limit it may wait until others have told.
    pub async fn count_account(&self, principal: &Principal) -> Verdict {
        let max = self.gate.rules.load().requests_max;
        self.gate.limits.account_in_time(&principal.account, max).await
    }

    /// Returns the problem of an account that has asked too often.
    pub fn spent(verdict: &Verdict) -> Problem {
        let detail = format!("more than {} requests of this account in a minute", verdict.limit);
        Problem::too_many(detail, seconds(verdict.reset))
    }
}

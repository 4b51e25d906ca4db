//! What administrators do: give, list, rotate and revoke keys.
//!
//! A secret is shown once, on the answer to the request that had it drawn. What is asked of such a
//! request and what it answers stands in `api_keys/bodies`, how it is carried out in
//! `api_keys/carrying`.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]

use std::sync::Arc;

use domain::access::event::AccessEvent;
use domain::keys::command::KeyCommand;
use domain::keys::key::KeyId;
use domain::time::SECOND;
use poem::{Request, Result};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use serde_json::json;

use crate::addresses::Client;
use crate::api_keys::bodies::{
    ApiKeyBody, ApiKeyCreatedBody, ApiKeyRevokedBody, ApiKeyRotatedBody, ApiKeysBody,
    CreateApiKeyBody, RotateApiKeyBody,
};
use crate::app::App;
use crate::auth::key_text;
use crate::body::{Empty, Optional, Strict};
use crate::door::RequestId;
use crate::idempotency::Named;
use crate::market::{Tag, next_link};
use crate::orders::{self, Created, Settled};
use crate::principal::Admin;
use crate::problem::Problem;

pub mod bodies;

pub mod carrying;

/// Keys of a page when nobody says how many; at most 1,000.
const PAGE_DEFAULT: usize = 500;

pub struct ApiKeysApi(pub Arc<App>);

#[derive(ApiResponse)]
enum ApiKeysAnswer {
    /// The keys.
    #[oai(status = 200)]
    ApiKeys(Json<ApiKeysBody>, #[oai(header = "Link")] Option<String>),
}

#[OpenApi(tag = "Tag::Admin")]
impl ApiKeysApi {
    /// Keys
    ///
    /// All that were ever given, revoked or not, in order of their ids; never a secret. It is
    /// recorded who has looked.
    #[oai(path = "/admin/api-keys", method = "get", operation_id = "list_api_keys")]
    async fn list(
        &self,
        admin: Admin,
        client: Client,
        request_id: RequestId,
        request: &Request,
        /// Keys of a page; 500 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// Where the page starts: `next_cursor` of the page before.
        #[oai(validator(pattern = "^[A-Za-z0-9]{8}$"))]
        cursor: Query<Option<String>>,
    ) -> Result<ApiKeysAnswer> {
        let limit = limit.0.and_then(|limit| limit.try_into().ok()).unwrap_or(PAGE_DEFAULT);
        let after: Option<KeyId> = match cursor.0 {
            None => None,
            Some(cursor) => Some(cursor.parse().map_err(|_| {
                Problem::field("cursor", "expected next_cursor of the page before")
            })?),
        };
        self.0.record_read(&admin, "list_api_keys", client, request_id).await?;
        let body = self.0.api_keys_page(after.as_ref(), limit);
        let link = body.next_cursor.as_ref().map(|cursor| next_link(request, cursor));
        Ok(ApiKeysAnswer::ApiKeys(Json(body), link))
    }

    /// Give a key
    ///
    /// The answer shows it, once. When the request is repeated with its Idempotency-Key, `api_key`
    /// is null: whoever has lost it rotates it.
    // It stands here because the document keeps the operations of one path only from one place.
    #[oai(path = "/admin/api-keys", method = "post", operation_id = "create_api_key")]
    async fn create(
        &self,
        admin: Admin,
        named: Named,
        body: Strict<CreateApiKeyBody>,
    ) -> Result<Created<ApiKeyCreatedBody>> {
        let Strict(grant) = body;
        let text = json!({
            "command": "create_api_key",
            "account": grant.account,
            "role": grant.role,
            "scopes": grant.scopes,
            "networks": grant.networks,
            "expires_at": grant.expires_at,
            "label": grant.label,
        });
        let (drawn, carried) = self.0.create_api_key(&admin, named, &text, &grant).await?;
        let body = ApiKeyCreatedBody::of(&drawn, &carried)?;
        Ok(carried.created(body))
    }

    /// Give a key another secret
    ///
    /// The answer shows it, once. The secret that it had until now is good for `overlap_s` seconds
    /// more, and one from before that no longer. To whoever should not have the key, revoke it:
    /// tokens that it was exchanged for live on when it is rotated.
    #[oai(path = "/admin/api-keys/:id/rotate", method = "post", operation_id = "rotate_api_key")]
    async fn rotate(
        &self,
        admin: Admin,
        named: Named,
        /// The id of the key.
        id: Path<String>,
        body: Optional<RotateApiKeyBody>,
    ) -> Result<Settled<ApiKeyRotatedBody>> {
        let (id, overlap_s) = (key_id_of(&id.0)?, body.0.unwrap_or_default());
        let drawn = key_text::drawn_for(id.clone());
        let overlap = i64::from(overlap_s) * SECOND;
        let command = KeyCommand::RotateApiKey {
            key: id.clone(),
            secret: drawn.hash(),
            former_until: self.0.clock.now().plus(overlap),
        };
        let text = json!({"command": "rotate_api_key", "id": id, "overlap_s": overlap_s});
        let carried = self.0.carry_out_on_keys(&admin, named, &text, command).await?;
        let body = ApiKeyRotatedBody::of(&drawn, &carried)?;
        // Whether the views show it by now or not: the secret is shown now or never.
        self.0.shown(&carried).await;
        Ok(carried.settled(body))
    }

    /// Revoke a key
    ///
    /// It opens nothing any more, nor do the tokens that it was exchanged for; what it has opened is
    /// closed. To revoke one that is revoked is no error.
    #[oai(path = "/admin/api-keys/:id", method = "delete", operation_id = "revoke_api_key")]
    async fn revoke(
        &self,
        admin: Admin,
        named: Named,
        /// The id of the key.
        id: Path<String>,
        _body: Empty,
    ) -> Result<Settled<ApiKeyRevokedBody>> {
        let id = key_id_of(&id.0)?;
        let text = json!({"command": "revoke_api_key", "id": id});
        let command = KeyCommand::RevokeApiKey { key: id.clone() };
        let carried = self.0.carry_out_on_keys(&admin, named, &text, command).await?;
        // Whoever is told that a key is revoked must not find it open.
        self.0.must_show(&carried).await?;
        Ok(carried.settled(ApiKeyRevokedBody::of(&id, &carried, self.0.clock.now())))
    }
}

impl App {
    /// Records that somebody looks at what concerns others. What cannot be recorded is not shown.
    async fn record_read(
        &self,
        admin: &Admin,
        operation: &str,
        Client(address): Client,
        RequestId(request_id): RequestId,
    ) -> Result<(), Problem> {
        let principal = admin.principal();
        let event = AccessEvent::RecordsRead {
            at: self.clock.now(),
            account: principal.account.clone(),
            role: principal.role,
            operation: operation.to_owned(),
            address,
            request_id,
        };
        self.gate.trail.record(event).await.map_err(|error| orders::of_log(&error))
    }

    fn api_keys_page(&self, after: Option<&KeyId>, limit: usize) -> ApiKeysBody {
        let access = self.views.access();
        let mut keys = access
            .keys()
            .filter(|(id, ..)| after.is_none_or(|after| *id > after))
            .map(|(id, key, made)| ApiKeyBody::of(id, key, made));
        let api_keys: Vec<_> = keys.by_ref().take(limit).collect();
        let next = keys.next().and(api_keys.last()).map(|last| last.id.clone());
        ApiKeysBody { api_keys, next_cursor: next }
    }
}

/// Reads the id of a key. What is no id names nothing.
fn key_id_of(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|_| carrying::no_such_key())
}

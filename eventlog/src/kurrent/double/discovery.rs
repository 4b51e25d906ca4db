//! What clients ask before they begin: what the server can do, and who its fellows are.

use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::kurrent::double::protocol::Uuid as WireUuid;
use crate::kurrent::double::protocol::gossip::gossip_server::Gossip;
use crate::kurrent::double::protocol::gossip::member_info::VNodeState;
use crate::kurrent::double::protocol::gossip::{ClusterInfo, EndPoint, MemberInfo};
use crate::kurrent::double::protocol::server_features::server_features_server::ServerFeatures;
use crate::kurrent::double::protocol::server_features::{SupportedMethod, SupportedMethods};
use crate::kurrent::double::protocol::uuid::Value;
use crate::kurrent::double::service::Service;

pub(crate) const VERSION: &str = "25.1.0";
const STREAMS_SERVICE: &str = "event_store.client.streams.streams";
/// As servers list them; the last one is listed, and not answered.
const STREAMS_METHODS: [&str; 5] = ["read", "append", "delete", "tombstone", "batchappend"];

#[tonic::async_trait]
impl ServerFeatures for Service {
    async fn get_supported_methods(
        &self,
        _: Request<()>,
    ) -> Result<Response<SupportedMethods>, Status> {
        self.cluster.count_call("features");
        let method = |name: &str| SupportedMethod {
            method_name: name.to_owned(),
            service_name: STREAMS_SERVICE.to_owned(),
            features: Vec::new(),
        };
        Ok(Response::new(SupportedMethods {
            methods: STREAMS_METHODS.into_iter().map(method).collect(),
            event_store_server_version: VERSION.to_owned(),
        }))
    }
}

#[tonic::async_trait]
impl Gossip for Service {
    async fn read(&self, _: Request<()>) -> Result<Response<ClusterInfo>, Status> {
        self.cluster.count_call("gossip");
        let leader = self.cluster.leader();
        let members = self.cluster.members().into_iter().enumerate().map(|(node, member)| {
            let state = match leader {
                _ if !member.alive => VNodeState::Shutdown,
                Some(leader) if leader == node => VNodeState::Leader,
                Some(_) => VNodeState::Follower,
                None => VNodeState::Unknown,
            };
            MemberInfo {
                instance_id: Some(WireUuid {
                    value: Some(Value::String(instance_id(node).to_string())),
                }),
                time_stamp: 0,
                state: state.into(),
                is_alive: member.alive,
                http_end_point: Some(EndPoint {
                    address: "127.0.0.1".to_owned(),
                    port: u32::from(member.port),
                }),
            }
        });
        Ok(Response::new(ClusterInfo { members: members.collect() }))
    }
}

pub(crate) fn instance_id(node: usize) -> Uuid {
    Uuid::from_u128(node as u128 + 1)
}

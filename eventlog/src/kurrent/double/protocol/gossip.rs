//! Generated from `gossip.proto`.
//!
//! The file is that of the crate `kurrentdb` 1.2.0 (MIT). Made by `protox` 0.8, `prost-build` 0.13 and
//! `tonic-build` 0.13: server only, `Empty` is `()`, bytes are `Bytes`, maps are `BTreeMap`. Attributes
//! that silence lints were taken out: they stand once, where the parent names this file.

#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ClusterInfo {
    #[prost(message, repeated, tag = "1")]
    pub members: ::prost::alloc::vec::Vec<MemberInfo>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct EndPoint {
    #[prost(string, tag = "1")]
    pub address: ::prost::alloc::string::String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct MemberInfo {
    #[prost(message, optional, tag = "1")]
    pub instance_id: ::core::option::Option<super::Uuid>,
    #[prost(int64, tag = "2")]
    pub time_stamp: i64,
    #[prost(enumeration = "member_info::VNodeState", tag = "3")]
    pub state: i32,
    #[prost(bool, tag = "4")]
    pub is_alive: bool,
    #[prost(message, optional, tag = "5")]
    pub http_end_point: ::core::option::Option<EndPoint>,
}
/// Nested message and enum types in `MemberInfo`.
pub mod member_info {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
    #[repr(i32)]
    pub enum VNodeState {
        Initializing = 0,
        DiscoverLeader = 1,
        Unknown = 2,
        PreReplica = 3,
        CatchingUp = 4,
        Clone = 5,
        Follower = 6,
        PreLeader = 7,
        Leader = 8,
        Manager = 9,
        ShuttingDown = 10,
        Shutdown = 11,
        ReadOnlyLeaderless = 12,
        PreReadOnlyReplica = 13,
        ReadOnlyReplica = 14,
        ResigningLeader = 15,
    }
    impl VNodeState {
        /// String value of the enum field names used in the ProtoBuf definition.
        ///
        /// The values are not transformed in any way and thus are considered stable
        /// (if the ProtoBuf definition does not change) and safe for programmatic use.
        pub fn as_str_name(&self) -> &'static str {
            match self {
                Self::Initializing => "Initializing",
                Self::DiscoverLeader => "DiscoverLeader",
                Self::Unknown => "Unknown",
                Self::PreReplica => "PreReplica",
                Self::CatchingUp => "CatchingUp",
                Self::Clone => "Clone",
                Self::Follower => "Follower",
                Self::PreLeader => "PreLeader",
                Self::Leader => "Leader",
                Self::Manager => "Manager",
                Self::ShuttingDown => "ShuttingDown",
                Self::Shutdown => "Shutdown",
                Self::ReadOnlyLeaderless => "ReadOnlyLeaderless",
                Self::PreReadOnlyReplica => "PreReadOnlyReplica",
                Self::ReadOnlyReplica => "ReadOnlyReplica",
                Self::ResigningLeader => "ResigningLeader",
            }
        }
        /// Creates an enum from field names used in the ProtoBuf definition.
        pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
            match value {
                "Initializing" => Some(Self::Initializing),
                "DiscoverLeader" => Some(Self::DiscoverLeader),
                "Unknown" => Some(Self::Unknown),
                "PreReplica" => Some(Self::PreReplica),
                "CatchingUp" => Some(Self::CatchingUp),
                "Clone" => Some(Self::Clone),
                "Follower" => Some(Self::Follower),
                "PreLeader" => Some(Self::PreLeader),
                "Leader" => Some(Self::Leader),
                "Manager" => Some(Self::Manager),
                "ShuttingDown" => Some(Self::ShuttingDown),
                "Shutdown" => Some(Self::Shutdown),
                "ReadOnlyLeaderless" => Some(Self::ReadOnlyLeaderless),
                "PreReadOnlyReplica" => Some(Self::PreReadOnlyReplica),
                "ReadOnlyReplica" => Some(Self::ReadOnlyReplica),
                "ResigningLeader" => Some(Self::ResigningLeader),
                _ => None,
            }
        }
    }
}
/// Generated server implementations.
pub mod gossip_server {
    use tonic::codegen::*;
    /// Generated trait containing gRPC methods that should be implemented for use with GossipServer.
    #[async_trait]
    pub trait Gossip: std::marker::Send + std::marker::Sync + 'static {
        async fn read(
            &self,
            request: tonic::Request<()>,
        ) -> std::result::Result<tonic::Response<super::ClusterInfo>, tonic::Status>;
    }
    #[derive(Debug)]
    pub struct GossipServer<T> {
        inner: Arc<T>,
        accept_compression_encodings: EnabledCompressionEncodings,
        send_compression_encodings: EnabledCompressionEncodings,
        max_decoding_message_size: Option<usize>,
        max_encoding_message_size: Option<usize>,
    }
    impl<T> GossipServer<T> {
        pub fn new(inner: T) -> Self {
            Self::from_arc(Arc::new(inner))
        }
        pub fn from_arc(inner: Arc<T>) -> Self {
            Self {
                inner,
                accept_compression_encodings: Default::default(),
                send_compression_encodings: Default::default(),
                max_decoding_message_size: None,
                max_encoding_message_size: None,
            }
        }
        pub fn with_interceptor<F>(inner: T, interceptor: F) -> InterceptedService<Self, F>
        where
            F: tonic::service::Interceptor,
        {
            InterceptedService::new(Self::new(inner), interceptor)
        }
        /// Enable decompressing requests with the given encoding.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.accept_compression_encodings.enable(encoding);
            self
        }
        /// Compress responses with the given encoding, if the client supports it.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.send_compression_encodings.enable(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.max_decoding_message_size = Some(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.max_encoding_message_size = Some(limit);
            self
        }
    }
    impl<T, B> tonic::codegen::Service<http::Request<B>> for GossipServer<T>
    where
        T: Gossip,
        B: Body + std::marker::Send + 'static,
        B::Error: Into<StdError> + std::marker::Send + 'static,
    {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;
        fn poll_ready(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<std::result::Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, req: http::Request<B>) -> Self::Future {
            match req.uri().path() {
                "/event_store.client.gossip.Gossip/Read" => {
                    struct ReadSvc<T: Gossip>(pub Arc<T>);
                    impl<T: Gossip> tonic::server::UnaryService<()> for ReadSvc<T> {
                        type Response = super::ClusterInfo;
                        type Future = BoxFuture<tonic::Response<Self::Response>, tonic::Status>;
                        fn call(&mut self, request: tonic::Request<()>) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move { <T as Gossip>::read(&inner, request).await };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ReadSvc(inner);
                        let codec = tonic::codec::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                _ => Box::pin(async move {
                    let mut response = http::Response::new(tonic::body::Body::default());
                    let headers = response.headers_mut();
                    headers.insert(
                        tonic::Status::GRPC_STATUS,
                        (tonic::Code::Unimplemented as i32).into(),
                    );
                    headers.insert(http::header::CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
                    Ok(response)
                }),
            }
        }
    }
    impl<T> Clone for GossipServer<T> {
        fn clone(&self) -> Self {
            let inner = self.inner.clone();
            Self {
                inner,
                accept_compression_encodings: self.accept_compression_encodings,
                send_compression_encodings: self.send_compression_encodings,
                max_decoding_message_size: self.max_decoding_message_size,
                max_encoding_message_size: self.max_encoding_message_size,
            }
        }
    }
    /// Generated gRPC service name
    pub const SERVICE_NAME: &str = "event_store.client.gossip.Gossip";
    impl<T> tonic::server::NamedService for GossipServer<T> {
        const NAME: &'static str = SERVICE_NAME;
    }
}

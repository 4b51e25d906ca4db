//! The messages and services of the protocol, as `kurrentdb` 1.2.0 speaks it. The modules hold one package
//! each; here stand the messages that they share, generated from `shared.proto` in the same way.

pub mod streams;

pub mod server_features;

pub mod gossip;

#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Uuid {
    #[prost(oneof = "uuid::Value", tags = "1, 2")]
    pub value: ::core::option::Option<uuid::Value>,
}
/// Nested message and enum types in `UUID`.
pub mod uuid {
    #[derive(Clone, Copy, PartialEq, ::prost::Message)]
    pub struct Structured {
        #[prost(int64, tag = "1")]
        pub most_significant_bits: i64,
        #[prost(int64, tag = "2")]
        pub least_significant_bits: i64,
    }
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Value {
        #[prost(message, tag = "1")]
        Structured(Structured),
        #[prost(string, tag = "2")]
        String(::prost::alloc::string::String),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StreamIdentifier {
    #[prost(bytes = "bytes", tag = "3")]
    pub stream_name: ::prost::bytes::Bytes,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct AllStreamPosition {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
}

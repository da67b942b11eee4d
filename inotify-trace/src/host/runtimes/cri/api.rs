//! The part of the Container Runtime Interface that is used, `runtime.v1` of
//! <https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto>: a few fields
//! of a few messages, by hand, so that building needs no protoc. Fields that are missing here are
//! skipped by the decoder.

use std::collections::HashMap;

use prost::Message;
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(super) runtime_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    pub(super) image: Option<ImageSpec>,
    #[prost(map = "string, string", tag = "8")]
    pub(super) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatus {
    #[prost(message, optional, tag = "8")]
    pub(super) image: Option<ImageSpec>,
}

/// The most bytes of an answer, as in kubelet.
const LONGEST: usize = 16 << 20;

/// A client of a runtime.
#[derive(Debug)]
pub(super) struct Client(Grpc<Channel>);

impl Client {
    pub(super) fn new(channel: Channel) -> Self {
        Self(Grpc::new(channel).max_decoding_message_size(LONGEST))
    }

    pub(super) async fn version(&mut self) -> Result<VersionResponse, Status> {
        self.call("/runtime.v1.RuntimeService/Version", Empty {}).await
    }

    pub(super) async fn sandboxes(&mut self) -> Result<ListPodSandboxResponse, Status> {
        self.call("/runtime.v1.RuntimeService/ListPodSandbox", Empty {}).await
    }

    pub(super) async fn containers(&mut self) -> Result<ListContainersResponse, Status> {
        self.call("/runtime.v1.RuntimeService/ListContainers", Empty {}).await
    }

    pub(super) async fn status(&mut self, id: &str) -> Result<ContainerStatusResponse, Status> {
        let question = ContainerStatusRequest { container_id: id.to_owned() };
        self.call("/runtime.v1.RuntimeService/ContainerStatus", question).await
    }

    async fn call<Q, A>(&mut self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let (method, codec) = (PathAndQuery::from_static(method), ProstCodec::<Q, A>::default());
        Ok(self.0.unary(Request::new(question), method, codec).await?.into_inner())
    }
}

//! The part of the Container Runtime Interface that is used, `runtime.v1` of
//! <https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto>: a few fields
//! of a few messages, by hand, so that building needs no protoc. Fields that are missing here are
//! skipped by the decoder. `runtime.v1alpha2`, which is all that containerd before 1.6 and CRI-O
//! before 1.23 serve, has the same fields under the same numbers.

use std::collections::HashMap;

use prost::Message;
use tonic::{
    Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
};
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

/// The services, newest first.
const SERVICES: [&str; 2] = ["runtime.v1.RuntimeService", "runtime.v1alpha2.RuntimeService"];

/// A client of a runtime.
#[derive(Debug)]
pub(super) struct Client {
    grpc: Grpc<Channel>,
    /// The service that the runtime has.
    service: &'static str,
}

impl Client {
    pub(super) fn new(channel: Channel) -> Self {
        let grpc = Grpc::new(channel).max_decoding_message_size(LONGEST);
        Self { grpc, service: SERVICES[0] }
    }

    /// The runtime's version, from the newest service that it has. The first call.
    pub(super) async fn version(&mut self) -> Result<VersionResponse, Status> {
        let mut answer = self.call("Version", Empty {}).await;
        for older in &SERVICES[1..] {
            if answer.as_ref().is_err_and(|status: &Status| status.code() == Code::Unimplemented) {
                self.service = older;
                answer = self.call("Version", Empty {}).await;
            }
        }
        answer
    }

    pub(super) async fn sandboxes(&mut self) -> Result<ListPodSandboxResponse, Status> {
        self.call("ListPodSandbox", Empty {}).await
    }

    pub(super) async fn containers(&mut self) -> Result<ListContainersResponse, Status> {
        self.call("ListContainers", Empty {}).await
    }

    pub(super) async fn status(&mut self, id: &str) -> Result<ContainerStatusResponse, Status> {
        self.call("ContainerStatus", ContainerStatusRequest { container_id: id.to_owned() }).await
    }

    async fn call<Q, A>(&mut self, method: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path = format!("/{}/{method}", self.service);
        let path = PathAndQuery::from_maybe_shared(path);
        let path = path.map_err(|error| Status::internal(error.to_string()))?;
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        Ok(self.grpc.unary(Request::new(question), path, codec).await?.into_inner())
    }
}

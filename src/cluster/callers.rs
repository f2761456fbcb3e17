//! Whether the API server may still call us.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{Api, Client, Error};

/// For one answer, when we are on our way out.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether mirrorgate is being uninstalled: its webhook configuration is gone, or our right to see it. What cannot be found out
/// is no.
pub async fn nobody_calls(client: Client) -> bool {
    let configurations = Api::<MutatingWebhookConfiguration>::all(client);
    match tokio::time::timeout(TIMEOUT, configurations.get_metadata_opt("mirrorgate")).await {
        Ok(Ok(found)) => found.is_none(),
        Ok(Err(Error::Api(status))) => matches!(status.code, 401 | 403),
        Ok(Err(_)) | Err(_) => false,
    }
}

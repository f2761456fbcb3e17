//! What is done to a pod under a policy: pure, from the pod's JSON to a decision.

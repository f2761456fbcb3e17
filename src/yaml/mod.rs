//! YAML as Kubernetes reads it (`sigs.k8s.io/yaml`), every node with its place in the source.

// Command keyring answers what the kubelet makes of pull secrets. A question a line in:
// {"secrets":[{"type":…,"data":base64 of what stands at the type's key}],"names":["docker.io/library/nginx",…]}; a line
// out, {"readable":…,"covers":[…]}: whether the kubelet can read the secrets at all, and for each name whether it has a
// credential.
package main

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"

	"oracle/lines"
)

type secret struct {
	Type string `json:"type"`
	Data []byte `json:"data"`
}

type question struct {
	Secrets []secret `json:"secrets"`
	Names   []string `json:"names"`
}

type answer struct {
	Readable bool   `json:"readable"`
	Covers   []bool `json:"covers"`
}

func judge(asked question) answer {
	var pullSecrets []v1.Secret
	for _, secret := range asked.Secrets {
		key := v1.DockerConfigJsonKey
		if secret.Type == string(v1.SecretTypeDockercfg) {
			key = v1.DockerConfigKey
		}
		pullSecrets = append(pullSecrets, v1.Secret{Type: v1.SecretType(secret.Type), Data: map[string][]byte{key: secret.Data}})
	}
	keyring, err := secrets.MakeDockerKeyring(pullSecrets, credentialprovider.UnionDockerKeyring{})
	if err != nil {
		return answer{}
	}
	found := answer{Readable: true}
	for _, name := range asked.Names {
		_, covers := keyring.Lookup(name)
		found.Covers = append(found.Covers, covers)
	}
	return found
}

func main() {
	// The kubelet logs each key that is no URL.
	klog.SetLogger(klog.Logger{})
	lines.Answer(judge)
}

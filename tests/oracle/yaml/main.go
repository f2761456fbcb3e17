// Command yaml answers what Kubernetes makes of a YAML document: a JSON string a line in, an object a line out, either
// {"ok":true,"value":…} or {"ok":false,"error":…}.
package main

import (
	"encoding/json"

	"sigs.k8s.io/yaml"

	"oracle/lines"
)

type answer struct {
	OK    bool            `json:"ok"`
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`
}

func read(document string) answer {
	value, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{OK: true, Value: value}
}

func main() {
	lines.Answer(read)
}

// Command yaml answers what Kubernetes makes of a YAML document: a JSON string a line in, an object a line out, either
// {"ok":true,"value":…} or {"ok":false,"error":…}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
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

func run() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		var document string
		if err := json.Unmarshal(lines.Bytes(), &document); err != nil {
			return fmt.Errorf("a line is no JSON string: %w", err)
		}
		if err := encoder.Encode(read(document)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return out.Flush()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "oracle yaml:", err)
		os.Exit(2)
	}
}

// Command reference answers how the distribution project's package reads an image: a JSON string a line in, an object a
// line out, either {"ok":true,"domain":…,"path":…,"tag":…,"digest":…,"full":…} or {"ok":false,"error":…}.
package main

import (
	"bufio"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"os"

	"github.com/distribution/reference"
)

type answer struct {
	OK     bool   `json:"ok"`
	Domain string `json:"domain,omitempty"`
	Path   string `json:"path,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Digest string `json:"digest,omitempty"`
	Full   string `json:"full,omitempty"`
	Error  string `json:"error,omitempty"`
}

func read(image string) answer {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return answer{Error: err.Error()}
	}
	found := answer{OK: true, Domain: reference.Domain(named), Path: reference.Path(named), Full: named.String()}
	if tagged, ok := named.(reference.Tagged); ok {
		found.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		found.Digest = digested.Digest().String()
	}
	return found
}

func run() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		var image string
		if err := json.Unmarshal(lines.Bytes(), &image); err != nil {
			return fmt.Errorf("a line is no JSON string: %w", err)
		}
		if err := encoder.Encode(read(image)); err != nil {
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
		fmt.Fprintln(os.Stderr, "oracle reference:", err)
		os.Exit(2)
	}
}

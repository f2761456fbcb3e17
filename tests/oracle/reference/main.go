// Command reference answers how the distribution project's package reads an image: a JSON string a line in, an object a
// line out, either {"ok":true,"domain":…,"path":…,"tag":…,"digest":…,"full":…} or {"ok":false,"error":…}.
package main

import (
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/distribution/reference"

	"oracle/lines"
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

func main() {
	lines.Answer(read)
}

// Command certificate answers what Go's crypto/x509 makes of a certificate or of a PEM text. A question a line in, one of
// {"seeds":true}, {"der":base64} and {"pem":base64}; a line out: {"seeds":[base64 of DER,…]}; {"error":…}, or {"facts":{…}}
// with all that the parser found; {"taken":[SHA-256 in hex,…]}, the certificates that a pool takes of the text.
package main

import (
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"oracle/lines"
)

type question struct {
	Seeds bool   `json:"seeds"`
	DER   []byte `json:"der"`
	PEM   []byte `json:"pem"`
}

type answer struct {
	Seeds [][]byte          `json:"seeds,omitempty"`
	Error string            `json:"error,omitempty"`
	Facts map[string]string `json:"facts,omitempty"`
	Taken []string          `json:"taken,omitempty"`
}

func reply(asked question) answer {
	switch {
	case asked.Seeds:
		return answer{Seeds: seeds()}
	case asked.PEM != nil:
		return answer{Taken: taken(asked.PEM)}
	}
	certificate, err := x509.ParseCertificate(asked.DER)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Facts: facts(certificate)}
}

// taken is what AppendCertsFromPEM does, whose pool shows no certificates, and is held against it.
func taken(text []byte) []string {
	var found []string
	rest := text
	for len(rest) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			continue
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			found = append(found, fingerprint(certificate.Raw))
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	different := slices.Clone(found)
	slices.Sort(different)
	//lint:ignore SA1019 the pool holds nothing of the system's
	if count := len(pool.Subjects()); count != len(slices.Compact(different)) {
		panic(fmt.Sprintf("a pool takes %d", count))
	}
	return found
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func facts(c *x509.Certificate) map[string]string {
	facts := map[string]string{
		"subject":    c.Subject.String(),
		"issuer":     c.Issuer.String(),
		"not_before": clamped(c.NotBefore),
		"not_after":  clamped(c.NotAfter),
		"version":    fmt.Sprint(max(c.Version, 1)),
		"serial":     c.SerialNumber.Text(16),
		"raw":        strings.Join(each([][]byte{c.RawTBSCertificate, c.RawSubject, c.RawIssuer, c.RawSubjectPublicKeyInfo}, fingerprint), " "),
		"signature":  fmt.Sprint(int(c.SignatureAlgorithm), " ", hex.EncodeToString(c.Signature)),
		"key":        key(c.PublicKey),
		"usage":      fmt.Sprint(int(c.KeyUsage), " ", each(c.ExtKeyUsage, purpose), " ", len(c.UnknownExtKeyUsage)),
		"ca":         fmt.Sprint(c.BasicConstraintsValid, " ", c.IsCA, " ", c.MaxPathLen),
		"names":      fmt.Sprintf("%x %x %x", c.DNSNames, c.EmailAddresses, each(c.URIs, host)),
		"addresses":  fmt.Sprint(each(c.IPAddresses, func(address net.IP) string { return hex.EncodeToString(address) })),
		"permitted":  fmt.Sprintf("%x %x %x %s", c.PermittedDNSDomains, c.PermittedEmailAddresses, c.PermittedURIDomains, each(c.PermittedIPRanges, ipRange)),
		"excluded":   fmt.Sprintf("%x %x %x %s", c.ExcludedDNSDomains, c.ExcludedEmailAddresses, c.ExcludedURIDomains, each(c.ExcludedIPRanges, ipRange)),
		"ids":        fmt.Sprintf("%x %x", c.SubjectKeyId, c.AuthorityKeyId),
		"unhandled":  fmt.Sprint(c.UnhandledCriticalExtensions),
		"policies": fmt.Sprint(each(c.Policies, oid), each(c.PolicyMappings, func(mapping x509.PolicyMapping) string {
			return oid(mapping.IssuerDomainPolicy) + ">" + oid(mapping.SubjectDomainPolicy)
		})),
		"limits": fmt.Sprint(limit(c.RequireExplicitPolicy, c.RequireExplicitPolicyZero), " ",
			limit(c.InhibitPolicyMapping, c.InhibitPolicyMappingZero), " ", limit(c.InhibitAnyPolicy, c.InhibitAnyPolicyZero)),
	}
	if !c.BasicConstraintsValid {
		facts["ca"] = "none"
	}
	for name, fact := range facts {
		facts[name] = strings.ToValidUTF8(fact, "\ufffd")
	}
	return facts
}

func each[T any](all []T, show func(T) string) []string {
	shown := []string{}
	for _, one := range all {
		shown = append(shown, show(one))
	}
	return shown
}

// clamped is the time, or the last that the other side can hold.
func clamped(at time.Time) string {
	const most = 253402207200
	return fmt.Sprint(min(at.Unix(), most))
}

func key(key any) string {
	switch key := key.(type) {
	case nil:
		return "unknown"
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa %x %x", key.N, key.E)
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf("ecdsa %s %x", key.Params().Name, point)
	case ed25519.PublicKey:
		return fmt.Sprintf("ed25519 %x", []byte(key))
	case *dsa.PublicKey:
		return "dsa"
	}
	panic(fmt.Sprintf("%T", key))
}

// purpose is of those that count.
func purpose(usage x509.ExtKeyUsage) string {
	return fmt.Sprint(min(int(usage), 3))
}

// host is that of a URI.
func host(uri *url.URL) string { return uri.Host }

func ipRange(network *net.IPNet) string {
	return fmt.Sprintf("%x/%x", []byte(network.IP), []byte(network.Mask))
}

func oid(id x509.OID) string {
	der, err := id.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(der)
}

func limit(number int, zero bool) string {
	if number == 0 && !zero {
		return "none"
	}
	return fmt.Sprint(number)
}

func main() { lines.Answer(reply) }

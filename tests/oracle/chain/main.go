// Makes keys, signs with them, and says what a Go TLS client makes of a chain. A question a line in, an answer a line
// out; bytes are base64:
//
//	{"keys":true}                                          {"keys":[{"name":…,"kind":…,"public":SPKI,"private":…}]}
//	{"sign":{"private":…,"scheme":…,"message":…}}          {"signature":…}
//	{"chain":{"presented":[DER, the server's own first],   {"class":"trusted" or our word for what Go says,
//	          "roots":[DER],"name":…,"at":unix seconds}}    "says":Go's words}
//
// The client is crypto/tls's: every certificate has to parse, RSA keys have at most 8192 bits, the chain is verified for
// the name, and the server's key is of a kind that TLS uses.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"oracle/lines"
)

type question struct {
	Keys  bool   `json:"keys"`
	Sign  *sign  `json:"sign"`
	Chain *chain `json:"chain"`
}

type answer struct {
	Keys      []key  `json:"keys,omitempty"`
	Signature []byte `json:"signature,omitempty"`
	Class     string `json:"class,omitempty"`
	Says      string `json:"says,omitempty"`
}

type chain struct {
	Presented [][]byte `json:"presented"`
	Roots     [][]byte `json:"roots"`
	Name      string   `json:"name"`
	At        int64    `json:"at"`
}

func main() {
	lines.Answer(func(asked question) answer {
		switch {
		case asked.Keys:
			return answer{Keys: makeKeys()}
		case asked.Sign != nil:
			return answer{Signature: asked.Sign.sign()}
		default:
			class, says := asked.Chain.judge()
			return answer{Class: class, Says: says}
		}
	})
}

func (asked *chain) judge() (class, says string) {
	certificates := make([]*x509.Certificate, len(asked.Presented))
	for i, der := range asked.Presented {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return "invalid-certificate", err.Error()
		}
		if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > 8192 {
			return "other", "tls: server sent certificate containing RSA key larger than 8192 bits"
		}
		certificates[i] = certificate
	}
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		CurrentTime:   time.Unix(asked.At, 0),
		DNSName:       asked.Name,
		Intermediates: x509.NewCertPool(),
	}
	for _, der := range asked.Roots {
		// What cannot be parsed is left out, as by AppendCertsFromPEM.
		if root, err := x509.ParseCertificate(der); err == nil {
			options.Roots.AddCert(root)
		}
	}
	for _, certificate := range certificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := certificates[0].Verify(options); err != nil {
		return classOf(err, options.CurrentTime), err.Error()
	}
	switch key := certificates[0].PublicKey.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return "trusted", ""
	default:
		return "other", fmt.Sprintf("tls: server's certificate contains an unsupported type of public key: %T", key)
	}
}

func classOf(err error, now time.Time) string {
	switch err := err.(type) {
	case x509.UnhandledCriticalExtension:
		return "unhandled-extension"
	case x509.HostnameError:
		return "name-mismatch"
	case x509.UnknownAuthorityError:
		return classOfUnknown(err)
	case x509.CertificateInvalidError:
		switch err.Reason {
		case x509.Expired:
			if now.Before(err.Cert.NotBefore) {
				return "not-yet-valid"
			}
			return "expired"
		case x509.NotAuthorizedToSign, x509.TooManyIntermediates:
			return "not-a-ca"
		case x509.CANotAuthorizedForThisName:
			return "name-constraint"
		case x509.IncompatibleUsage:
			return "wrong-usage"
		}
	}
	return "other"
}

// An unknown authority comes with what was wrong with the first candidate, for which Go makes only the text public.
func classOfUnknown(err x509.UnknownAuthorityError) string {
	value := reflect.ValueOf(&err).Elem()
	field := func(name string) any {
		field := value.FieldByName(name)
		return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface()
	}
	hint, _ := field("hintErr").(error)
	if hint == nil {
		return "unknown-authority"
	}
	candidate := field("hintCert").(*x509.Certificate)
	switch hint.(type) {
	case x509.ConstraintViolationError:
		return "not-a-ca"
	case x509.InsecureAlgorithmError:
		return "bad-signature"
	}
	isRefused := hint == x509.ErrUnsupportedAlgorithm ||
		strings.Contains(hint.Error(), "signature algorithm specifies") || strings.Contains(hint.Error(), "-bit keys are insecure")
	namesKey := len(candidate.SubjectKeyId) > 0 && bytes.Equal(candidate.SubjectKeyId, err.Cert.AuthorityKeyId)
	if isRefused || namesKey {
		return "bad-signature"
	}
	// The signature may as well be by another CA of the same name.
	return "unknown-authority"
}

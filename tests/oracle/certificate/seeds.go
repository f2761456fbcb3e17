package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"net"
	"net/url"
	"time"
)

// seeds are certificates that are to be changed: with each kind of key and signature, and each extension that is read.
func seeds() [][]byte {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 1024))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	signers := []crypto.Signer{rsaKey, edKey}
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		signers = append(signers, must(ecdsa.GenerateKey(curve, rand.Reader)))
	}
	var all [][]byte
	add := func(template *x509.Certificate, signer crypto.Signer) {
		all = append(all, must(x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)))
	}
	for _, signer := range signers {
		add(plain(), signer)
		add(full(), signer)
	}
	for _, algorithm := range []x509.SignatureAlgorithm{x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA384WithRSA} {
		template := plain()
		template.SignatureAlgorithm = algorithm
		add(template, rsaKey)
	}
	odd := plain()
	odd.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	odd.NotBefore = time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC)
	odd.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: " #a,b+c;<\"> "},
		{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("x@y")}},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte{0, 'x', 0x20, 0xac, 0, 0}}},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: asn1.RawValue{Tag: asn1.TagT61String, Bytes: []byte{'x', 0xfc}}},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 5}, Value: asn1.RawValue{Tag: asn1.TagNumericString, Bytes: []byte("12 3")}},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 42}, Value: "Großmann & Söhne *"},
	}}
	add(odd, edKey)
	return append(all, dsaKey(all[len(all)-1]))
}

func plain() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(4711),
		Subject:      pkix.Name{CommonName: "plain", Organization: []string{"one", "two"}, Country: []string{"DE"}},
		NotBefore:    time.Unix(1_700_000_000, 0),
		NotAfter:     time.Unix(1_900_000_000, 0),
		DNSNames:     []string{"harbor.corp", "*.corp"},
		IPAddresses:  []net.IP{net.IPv4(10, 1, 2, 3), net.ParseIP("fd00::1")},
	}
}

func full() *x509.Certificate {
	template := plain()
	_, ten, _ := net.ParseCIDR("10.0.0.0/12")
	_, six, _ := net.ParseCIDR("fd00::/9")
	template.Subject = pkix.Name{CommonName: "full", SerialNumber: "7", Locality: []string{"Köln"}, Province: []string{"NW"},
		StreetAddress: []string{"a"}, PostalCode: []string{"1"}, OrganizationalUnit: []string{"x, y"}}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLen = true, true, 3
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageDecipherOnly
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageAny, x509.ExtKeyUsageMicrosoftKernelCodeSigning}
	template.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}}
	template.EmailAddresses = []string{"a.b@harbor.corp", "\"x y\"@corp"}
	for _, text := range []string{"https://user:p%20w@harbor.corp:443/a%2fb?c#d", "spiffe://corp/x", "urn:x:y", "https://[fe80::1%25en0]:80/"} {
		template.URIs = append(template.URIs, must(url.Parse(text)))
	}
	template.SubjectKeyId, template.AuthorityKeyId = []byte{1, 2, 3}, []byte{4, 5}
	template.OCSPServer, template.IssuingCertificateURL = []string{"http://ocsp"}, []string{"http://ca"}
	template.CRLDistributionPoints = []string{"http://crl", "http://other"}
	template.Policies = []x509.OID{must(x509.ParseOID("1.2.3")), must(x509.ParseOID("2.5.29.32.0"))}
	template.PermittedDNSDomainsCritical = true
	template.PermittedDNSDomains, template.ExcludedDNSDomains = []string{"corp", ".x"}, []string{"evil.corp"}
	template.PermittedIPRanges, template.ExcludedIPRanges = []*net.IPNet{ten, six}, []*net.IPNet{six}
	template.PermittedEmailAddresses, template.ExcludedEmailAddresses = []string{"corp", "a@corp"}, []string{".x"}
	template.PermittedURIDomains, template.ExcludedURIDomains = []string{"corp"}, []string{".evil"}
	template.ExtraExtensions = []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 33}, Value: []byte{0x30, 0x0a, 0x30, 0x08, 6, 2, 42, 3, 6, 2, 42, 4}},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Value: []byte{0x30, 6, 0x80, 1, 2, 0x81, 1, 0}},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 54}, Critical: true, Value: []byte{2, 1, 0}},
		{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}},
	}
	return template
}

// dsaKey puts a DSA key, of any numbers, in the place of an Ed25519 key.
func dsaKey(der []byte) []byte {
	var certificate struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	_, err := asn1.Unmarshal(der, &certificate)
	check(err)
	var fields []asn1.RawValue
	for rest := certificate.TBS.Bytes; len(rest) > 0; {
		var field asn1.RawValue
		rest, err = asn1.Unmarshal(rest, &field)
		check(err)
		fields = append(fields, field)
	}
	key := must(hex.DecodeString("301d3014" + "06072a8648ce380401" + "3009020117020105020103" + "0305000202" + "010d"))
	fields[6] = asn1.RawValue{FullBytes: key}
	var content []byte
	for _, field := range fields {
		content = append(content, field.FullBytes...)
	}
	certificate.TBS = asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: content}
	return must(asn1.Marshal(certificate))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

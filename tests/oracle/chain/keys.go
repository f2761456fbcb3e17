package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
)

type key struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Public  []byte `json:"public"`
	Private []byte `json:"private"`
}

type sign struct {
	Private []byte `json:"private"`
	Scheme  string `json:"scheme"`
	Message []byte `json:"message"`
}

// An RSA key of a size or exponent that crypto/rsa would not make or sign with.
type oddRSA struct{ N, E, D *big.Int }

func makeKeys() []key {
	var keys []key
	add := func(name, kind string, public any, private []byte, err error) {
		spki, ok := public.([]byte)
		if !ok && err == nil {
			spki, err = x509.MarshalPKIXPublicKey(public)
		}
		if err != nil {
			panic(fmt.Sprintf("key %s: %v", name, err))
		}
		keys = append(keys, key{name, kind, spki, private})
	}
	for name, curve := range map[string]elliptic.Curve{
		"p256-a": elliptic.P256(), "p256-b": elliptic.P256(), "p256-c": elliptic.P256(), "p256-d": elliptic.P256(),
		"p224": elliptic.P224(), "p384": elliptic.P384(), "p521": elliptic.P521(),
	} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		encoded, err := x509.MarshalPKCS8PrivateKey(private)
		add(name, "ecdsa", &private.PublicKey, encoded, err)
	}
	for _, bits := range []int{1024, 1025, 1536, 2047, 2048, 2049, 3072} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		encoded, err := x509.MarshalPKCS8PrivateKey(private)
		add(fmt.Sprintf("rsa%d", bits), "rsa", &private.PublicKey, encoded, err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		var encoded []byte
		encoded, err = x509.MarshalPKCS8PrivateKey(private)
		add("ed25519", "ed25519", public, encoded, err)
	}
	for name, odd := range map[string]oddRSA{
		"rsa1023": makeOddRSA([]int{511, 512}, 65537), "rsa1024-e3": makeOddRSA([]int{512, 512}, 3),
		"rsa1024-e31": makeOddRSA([]int{512, 512}, 1<<31-1), "rsa1024-e32": makeOddRSA([]int{512, 512}, 1<<32+15),
		"rsa2048-e3": makeOddRSA([]int{1024, 1024}, 3), "rsa2048-e31": makeOddRSA([]int{1024, 1024}, 1<<31-1),
		"rsa2048-e32": makeOddRSA([]int{1024, 1024}, 1<<32+15), "rsa512": makeOddRSA([]int{256, 256}, 65537),
	} {
		encoded, err := json.Marshal(odd)
		add(name, "odd-rsa", odd.spki(), encoded, err)
	}
	huge, err := json.Marshal(makeOddRSA([]int{1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024}, 65537))
	var odd oddRSA
	if err == nil {
		err = json.Unmarshal(huge, &odd)
	}
	add("rsa9216", "huge-rsa", odd.spki(), huge, err)
	return keys
}

// A modulus of as many bits as the primes have together.
func makeOddRSA(bits []int, exponent int64) oddRSA {
	one, e := big.NewInt(1), big.NewInt(exponent)
	for {
		n, order, want := big.NewInt(1), big.NewInt(1), 0
		for _, bits := range bits {
			prime, err := rand.Prime(rand.Reader, bits)
			if err != nil {
				panic(err)
			}
			n.Mul(n, prime)
			order.Mul(order, new(big.Int).Sub(prime, one))
			want += bits
		}
		d := new(big.Int).ModInverse(e, order)
		if d != nil && n.BitLen() > want-len(bits) && (len(bits) > 2 || n.BitLen() == want) {
			return oddRSA{n, e, d}
		}
	}
}

func (odd oddRSA) spki() []byte {
	public, err := asn1.Marshal(struct{ N, E *big.Int }{odd.N, odd.E})
	if err != nil {
		panic(err)
	}
	spki, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue},
		asn1.BitString{Bytes: public, BitLength: len(public) * 8},
	})
	if err != nil {
		panic(err)
	}
	return spki
}

// Read once: that of an RSA key takes longer than a signature.
var privateKeys = map[string]crypto.Signer{}

func (asked *sign) sign() []byte {
	var odd oddRSA
	if json.Unmarshal(asked.Private, &odd) == nil {
		return odd.sign(asked.Scheme, asked.Message)
	}
	private, ok := privateKeys[string(asked.Private)]
	if !ok {
		parsed, err := x509.ParsePKCS8PrivateKey(asked.Private)
		if err != nil {
			panic(err)
		}
		private = parsed.(crypto.Signer)
		privateKeys[string(asked.Private)] = private
	}
	if _, ok := private.(ed25519.PrivateKey); ok {
		return must(private.Sign(rand.Reader, asked.Message, crypto.Hash(0)))
	}
	hash, digest := hashed(asked.Scheme, asked.Message)
	if len(asked.Scheme) > 3 && asked.Scheme[:3] == "pss" {
		salt := rsa.PSSSaltLengthEqualsHash
		if asked.Scheme[3] == '*' {
			salt = 20
		}
		signature, err := private.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: salt, Hash: hash})
		if err != nil {
			// The key is too small for the salt, so that there is no signature.
			return make([]byte, private.Public().(*rsa.PublicKey).Size())
		}
		return signature
	}
	return must(private.Sign(rand.Reader, digest, hash))
}

func must(signature []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return signature
}

// The scheme ends in the hash's bits.
func hashed(scheme string, message []byte) (crypto.Hash, []byte) {
	switch scheme[len(scheme)-3:] {
	case "384":
		digest := sha512.Sum384(message)
		return crypto.SHA384, digest[:]
	case "512":
		digest := sha512.Sum512(message)
		return crypto.SHA512, digest[:]
	default:
		digest := sha256.Sum256(message)
		return crypto.SHA256, digest[:]
	}
}

var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// By PKCS #1 v1.5, whatever the scheme says.
func (odd oddRSA) sign(scheme string, message []byte) []byte {
	hash, digest := hashed(scheme, message)
	block := make([]byte, (odd.N.BitLen()+7)/8)
	info := append(append([]byte{0}, digestInfo[hash]...), digest...)
	if len(block) < len(info)+10 {
		return block
	}
	block[1] = 1
	for i := 2; i < len(block)-len(info); i++ {
		block[i] = 0xff
	}
	copy(block[len(block)-len(info):], info)
	return new(big.Int).Exp(new(big.Int).SetBytes(block), odd.D, odd.N).FillBytes(make([]byte, len(block)))
}

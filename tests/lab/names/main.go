// Command names is the DNS server of a lab: it answers from a hosts file, which it reads anew for each question. What is not
// in there does not exist.
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: names ADDRESS:PORT HOSTS-FILE")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "names:", serve(os.Args[1], os.Args[2]))
	os.Exit(1)
}

func serve(address, hosts string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	datagram := make([]byte, 4096)
	for {
		n, from, err := socket.ReadFrom(datagram)
		if err != nil {
			return err
		}
		reply, err := answer(datagram[:n], hosts)
		if err == nil {
			_, err = socket.WriteTo(reply, from)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "names: %v: %v\n", from, err)
		}
	}
}

// answer is the reply to a question: the addresses of its kind that the name has. A name that has addresses of the other kind
// alone exists all the same, as RFC 8020 wants it.
func answer(datagram []byte, hosts string) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(datagram)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	addresses, err := lookup(hosts, strings.ToLower(strings.TrimSuffix(question.Name.String(), ".")))
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, OpCode: header.OpCode, Response: true, Authoritative: true,
			RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{question},
	}
	if err != nil {
		reply.RCode = dnsmessage.RCodeServerFailure
	} else if len(addresses) == 0 {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, address := range addresses {
		var body dnsmessage.ResourceBody
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			body = &dnsmessage.AResource{A: address.As4()}
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		default:
			continue
		}
		head := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1}
		reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: body})
	}
	return reply.Pack()
}

// lookup gives the addresses of a name, in the order of the file.
func lookup(hosts, name string) ([]netip.Addr, error) {
	text, err := os.ReadFile(hosts)
	if err != nil {
		return nil, err
	}
	var addresses []netip.Addr
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 || !slices.Contains(fields[1:], name) {
			continue
		}
		if address, err := netip.ParseAddr(fields[0]); err == nil {
			addresses = append(addresses, address)
		}
	}
	return addresses, nil
}

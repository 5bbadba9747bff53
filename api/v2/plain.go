package v2

import (
	"bytes"
	"strings"
)

// plainRequest is a request on /v2/keys in its everyday form: HTTP/1.1, a method that
// reads or writes keys, a clean path, no header that changes how a message is
// read. Whatever else a client may send is not judged here but left to net/http,
// so there is one opinion about every odd request.
type plainRequest struct {
	method      string
	key         string // what follows /v2/keys in the decoded path
	query       string // still encoded
	contentType string
	length      int  // of the body
	last        bool // the client asks to close the connection
}

// headEnd ends the head of a request.
var headEnd = []byte("\r\n\r\n")

// parsePlain reads the head of a request, which ends with headEnd. ok is false
// for a head that is not plain.
func parsePlain(head []byte) (p plainRequest, ok bool) {
	line, rest, _ := cutLine(head)
	if !p.requestLine(line) {
		return p, false
	}
	var hosts, lengths, types int
	for {
		line, rest, ok = cutLine(rest)
		if !ok {
			return p, false
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := cutHeader(line)
		if !ok {
			return p, false
		}
		switch {
		case isName(name, "host"):
			hosts++
			ok = isHost(value)
		case isName(name, "content-length"):
			lengths++
			p.length, ok = smallNumber(value)
		case isName(name, "content-type"):
			types++
			p.contentType = knownType(value)
		case isName(name, "connection"):
			var last bool
			last, ok = closes(value)
			p.last = p.last || last // of several lines, one that closes is enough
		case isName(name, "transfer-encoding"), isName(name, "expect"), isName(name, "upgrade"), isName(name, "trailer"):
			ok = false
		}
		if !ok {
			return p, false
		}
	}
	if p.length > 0 && p.method != "PUT" && p.method != "POST" {
		return p, false
	}
	return p, hosts == 1 && lengths <= 1 && types <= 1
}

// requestLine reads "METHOD /v2/keys... HTTP/1.1".
func (p *plainRequest) requestLine(line []byte) bool {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return false
	}
	switch string(method) {
	case "GET":
		p.method = "GET"
	case "PUT":
		p.method = "PUT"
	case "POST":
		p.method = "POST"
	case "DELETE":
		p.method = "DELETE"
	default:
		return false
	}
	target, ok := bytes.CutSuffix(rest, []byte(" HTTP/1.1"))
	if !ok || !isPlainTarget(target) {
		return false
	}
	path, query, _ := strings.Cut(string(target), "?")
	path, ok = unescapePath(path)
	if !ok || !isClean(path) {
		return false
	}
	p.query = query
	p.key, ok = cutKeys(path)
	return ok
}

// isPlainTarget reports whether a target has only visible ASCII and no fragment.
func isPlainTarget(target []byte) bool {
	for _, b := range target {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return false
		}
	}
	return len(target) > 0 && target[0] == '/'
}

// unescapePath decodes the %XX of a path, in which a plus is a plus.
func unescapePath(s string) (string, bool) {
	n, cause := countEscapes(s)
	if cause != "" {
		return "", false
	}
	if n == 0 {
		return s, true
	}
	b := make([]byte, 0, len(s)-2*n)
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	return string(b), true
}

// cutLine takes one line off the front of b.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, false
	}
	return b[:i-1], b[i+1:], true
}

// cutHeader takes a header line apart and refuses all but everyday bytes.
func cutHeader(line []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i < 1 {
		return nil, nil, false
	}
	name, value = line[:i], bytes.Trim(line[i+1:], " ")
	for _, b := range name {
		if !('a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' || b == '-') {
			return nil, nil, false
		}
	}
	for _, b := range value {
		if b < ' ' || b >= 0x7f {
			return nil, nil, false
		}
	}
	return name, value, true
}

// isName compares a header name with one in lower case.
func isName(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, b := range name {
		if b|0x20 != lower[i] && b != lower[i] {
			return false
		}
	}
	return true
}

// isHost reports whether a Host header has only what names, addresses and ports
// are made of.
func isHost(value []byte) bool {
	for _, b := range value {
		if !('a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("-.:[]_", b) >= 0) {
			return false
		}
	}
	return len(value) > 0
}

// smallNumber reads up to eight decimal digits.
func smallNumber(value []byte) (n int, ok bool) {
	if len(value) == 0 || len(value) > 8 {
		return 0, false
	}
	for _, b := range value {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = 10*n + int(b-'0')
	}
	return n, true
}

// knownType is a content type as a string, without an allocation for the one
// that matters.
func knownType(value []byte) string {
	if string(value) == formType {
		return formType
	}
	return string(value)
}

// closes reads a Connection header; ok is false for one that names headers.
func closes(value []byte) (last, ok bool) {
	switch strings.ToLower(string(value)) {
	case "keep-alive", "":
		return false, true
	case "close":
		return true, true
	}
	return false, false
}

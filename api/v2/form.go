package v2

import (
	"mime"
	"strconv"
	"strings"

	"etcd2/store"
)

// formType is the content type of a body that carries parameters.
const formType = "application/x-www-form-urlencoded"

// bodyBytesMax is the size from which on a form is refused.
const bodyBytesMax = 10 << 20

// Causes of store.InvalidForm, in the words of the library that the reference
// server uses.
const (
	causeSemicolon = "invalid semicolon separator in query"
	causeTooLarge  = "http: POST too large"
)

// param is a parameter that /v2/keys knows.
type param uint8

const (
	prevIndex param = iota
	waitIndex
	recursive
	sorted
	wait
	dir
	quorum
	stream
	prevValue
	noValueOnSuccess
	ttl
	prevExist
	refresh
	value
	maxStale
	params // how many there are
)

// knownParam looks a decoded name up.
func knownParam(name string) (param, bool) {
	switch name {
	case "prevIndex":
		return prevIndex, true
	case "waitIndex":
		return waitIndex, true
	case "recursive":
		return recursive, true
	case "sorted":
		return sorted, true
	case "wait":
		return wait, true
	case "dir":
		return dir, true
	case "quorum":
		return quorum, true
	case "stream":
		return stream, true
	case "prevValue":
		return prevValue, true
	case "noValueOnSuccess":
		return noValueOnSuccess, true
	case "ttl":
		return ttl, true
	case "prevExist":
		return prevExist, true
	case "refresh":
		return refresh, true
	case "value":
		return value, true
	case "maxStale":
		return maxStale, true
	}
	return 0, false
}

// form holds the first value of each parameter.
type form struct {
	values [params]string
	given  [params]bool
	err    *store.Error // the first that was asked for and is wrong
}

// add reads one encoded text. Values that an earlier text gave stay, so the
// body is added before the query. The result is the cause of a store.InvalidForm,
// "" when the text is well-formed; as in net/url, the first bad escape is named,
// and a semicolon anywhere outdoes it.
func (f *form) add(text string) (cause string) {
	for text != "" {
		pair := text
		if i := strings.IndexByte(text, '&'); i >= 0 {
			pair, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		if strings.IndexByte(pair, ';') >= 0 {
			cause = causeSemicolon
			continue
		}
		if bad := f.addPair(pair); bad != "" && cause == "" {
			cause = bad
		}
	}
	return cause
}

// addPair reads one name=value.
func (f *form) addPair(pair string) (cause string) {
	name, v := pair, ""
	if i := strings.IndexByte(pair, '='); i >= 0 {
		name, v = pair[:i], pair[i+1:]
	}
	name, cause = unescape(name)
	if cause != "" {
		return cause
	}
	p, known := knownParam(name)
	if !known || f.given[p] {
		_, cause = countEscapes(v)
		return cause
	}
	v, cause = unescape(v)
	if cause != "" {
		return cause
	}
	f.values[p], f.given[p] = v, true
	return ""
}

// unescape decodes %XX and the plus sign of a form. It returns s itself when
// there is nothing to decode, and a cause when an escape is broken.
func unescape(s string) (decoded, cause string) {
	n, cause := countEscapes(s)
	if cause != "" {
		return "", cause
	}
	if n == 0 && strings.IndexByte(s, '+') < 0 {
		return s, ""
	}
	var b strings.Builder
	b.Grow(len(s) - 2*n)
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '%':
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
		case '+':
			b.WriteByte(' ')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// countEscapes counts the %XX of s. The cause names the first broken one.
func countEscapes(s string) (n int, cause string) {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return n, ""
		}
		s = s[i:]
		if len(s) < 3 || !isHex(s[1]) || !isHex(s[2]) {
			return 0, "invalid URL escape " + strconv.Quote(s[:min(3, len(s))])
		}
		s = s[3:]
		n++
	}
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// unhex is the value of a hexadecimal digit.
func unhex(b byte) byte {
	switch {
	case b >= 'a':
		return b - 'a' + 10
	case b >= 'A':
		return b - 'A' + 10
	}
	return b - '0'
}

// carriesForm reports whether the body of a request holds parameters. The cause
// of a store.InvalidForm is not "" when the content type cannot be read.
func carriesForm(method, contentType string) (ok bool, cause string) {
	if method != "PUT" && method != "POST" || contentType == "" {
		return false, ""
	}
	if contentType == formType {
		return true, ""
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false, err.Error()
	}
	return media == formType, ""
}

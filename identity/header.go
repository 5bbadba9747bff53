package identity

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Header is the HTTP header that carries the header form.
const Header = "X-Etcd2-Identity"

const (
	// headerBytesMax bounds the header form; a longer one is refused.
	headerBytesMax = 4096

	incarnationDigits = 32
	sessionDigits     = 16
)

// errHeader is wrapped by every error about a header form.
var errHeader = errors.New("identity: malformed")

// String returns the header form: fields NAME=VALUE, separated by "; ".
// Decode reads it. Of an Identity that is not Known it has the generation only.
func (i Identity) String() string {
	if !i.Known() {
		return "generation=" + i.Generation
	}
	return fmt.Sprintf("incarnation=%s; start=%d; session=%s; past=%s; generation=%s; term=%d; last=%d; committed=%d",
		i.Incarnation, i.Start, i.Session, i.Past, i.Generation, i.Term, i.Last, i.Committed)
}

// Decode reads the header form. An empty text is that of a member of an earlier
// version and decodes as the zero Identity. Fields of later versions are ignored.
func Decode(text string) (Identity, error) {
	if text == "" {
		return Identity{}, nil
	}
	if len(text) > headerBytesMax {
		return Identity{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", errHeader, len(text), headerBytesMax)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; !ok || twice {
			return Identity{}, fmt.Errorf("%w: field %q", errHeader, part)
		}
		fields[name] = value
	}
	i := Identity{Incarnation: fields["incarnation"], Session: fields["session"], Past: fields["past"], Generation: fields["generation"]}
	if _, told := fields["generation"]; !told || !ValidGeneration(i.Generation) && i.Generation != Joining {
		return Identity{}, fmt.Errorf("%w: generation %q", errHeader, i.Generation)
	}
	if _, told := fields["incarnation"]; !told {
		return Identity{Generation: i.Generation}, nil
	}
	for name, to := range map[string]*uint64{"start": &i.Start, "term": &i.Term, "last": &i.Last, "committed": &i.Committed} {
		n, err := strconv.ParseUint(fields[name], 10, 64)
		if err != nil {
			return Identity{}, fmt.Errorf("%w: %s is %q, want a number", errHeader, name, fields[name])
		}
		*to = n
	}
	switch {
	case !hexDigits(i.Incarnation, incarnationDigits):
		return Identity{}, fmt.Errorf("%w: the incarnation is not %d hex digits", errHeader, incarnationDigits)
	case !hexDigits(i.Session, sessionDigits):
		return Identity{}, fmt.Errorf("%w: the session is not %d hex digits", errHeader, sessionDigits)
	case i.Past != "" && slices.ContainsFunc(strings.Split(i.Past, ","), func(s string) bool { return !ValidSession(s) }):
		return Identity{}, fmt.Errorf("%w: of the past sessions not all are %d hex digits", errHeader, sessionDigits)
	case i.Start == 0:
		return Identity{}, fmt.Errorf("%w: start 0, starts count from 1", errHeader)
	case i.Committed > i.Last:
		return Identity{}, fmt.Errorf("%w: committed %d is behind the last entry %d", errHeader, i.Committed, i.Last)
	}
	return i, nil
}

// ValidIncarnation reports whether text is an incarnation: 32 lower-case hex digits.
func ValidIncarnation(text string) bool { return hexDigits(text, incarnationDigits) }

// ValidSession reports whether text is a session: 16 lower-case hex digits.
func ValidSession(text string) bool { return hexDigits(text, sessionDigits) }

// ValidGeneration reports whether text is the generation of a cluster: "" or 32
// lower-case hex digits.
func ValidGeneration(text string) bool { return text == "" || hexDigits(text, incarnationDigits) }

// Valid reports whether s is the zero Seen or its fields have the form of those of an
// Identity.
func (s Seen) Valid() bool {
	return s == Seen{} || hexDigits(s.Incarnation, incarnationDigits) && hexDigits(s.Session, sessionDigits) && s.Start > 0
}

// hexDigits reports whether text is n lower-case hex digits.
func hexDigits(text string, n int) bool {
	return len(text) == n && strings.Trim(text, "0123456789abcdef") == ""
}

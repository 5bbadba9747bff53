package localstate

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"

	"etcd2/identity"
)

const (
	// version is that of the format. A file with another one is refused.
	version = 1
	// fileBytesMax bounds the file: several thousand members were seen.
	fileBytesMax = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fields is a JSON object with values that are not decoded yet.
type fields map[string]json.RawMessage

// The names of the fields are part of the format.
const (
	fieldVersion     = "version"
	fieldIncarnation = "incarnation"
	fieldStarts      = "starts"
	fieldSessions    = "sessions"
	fieldAccepted    = "accepted"
	fieldGeneration  = "generation"
	fieldSeen        = "seen"
	fieldTime        = "time"
	fieldSum         = "sum"
)

// encode writes the state, with the extra fields that were read.
func encode(s State, extra fields) ([]byte, error) {
	all := fields{}
	maps.Copy(all, extra)
	for name, value := range map[string]any{
		fieldVersion: version, fieldIncarnation: s.Incarnation, fieldStarts: s.Starts, fieldGeneration: s.Generation,
		fieldSessions: s.Sessions, fieldAccepted: toText(s.Accepted), fieldSeen: toText(s.Seen), fieldTime: s.Time,
	} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		all[name] = text
	}
	sum, err := all.sum()
	if err != nil {
		return nil, err
	}
	all[fieldSum] = json.RawMessage(strconv.Quote(sum))
	content, err := json.MarshalIndent(all, "", "  ")
	return append(content, '\n'), err
}

// sum is the checksum over all other fields, whatever space is between them.
func (f fields) sum() (string, error) {
	rest := maps.Clone(f)
	delete(rest, fieldSum)
	text, err := json.Marshal(rest) // ascending by name, without space
	return fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)), err
}

// decode reads what encode wrote. It returns the fields that it does not know, so that
// the next write keeps them.
func decode(content []byte) (State, fields, error) {
	damaged := func(format string, args ...any) (State, fields, error) {
		return State{}, nil, fmt.Errorf("%w: %s. Nothing was changed. Remove this member from its cluster and add it again "+
			"with an empty data directory; the only member of a cluster can instead be started without this file",
			ErrDamaged, fmt.Sprintf(format, args...))
	}
	var all fields
	if err := json.Unmarshal(content, &all); err != nil {
		return damaged("%v", err)
	}
	var s State
	var found int
	var seen map[string]identity.Seen
	var accepted map[string]string
	var sum string
	want, err := all.sum()
	if err == nil {
		err = all.take(fieldVersion, &found)
	}
	if err != nil {
		return damaged("%v", err)
	}
	if found > version {
		return State{}, nil, fmt.Errorf("%w: format %d, this program knows %d; start the version that wrote it", ErrLaterVersion, found, version)
	}
	for name, to := range map[string]any{
		fieldIncarnation: &s.Incarnation, fieldStarts: &s.Starts, fieldGeneration: &s.Generation,
		fieldSessions: &s.Sessions, fieldAccepted: &accepted,
		fieldSeen: &seen, fieldTime: &s.Time, fieldSum: &sum,
	} {
		if err := all.take(name, to); err != nil {
			return damaged("%v", err)
		}
	}
	if s.Seen, err = fromText(seen, identity.Seen.Valid); err != nil {
		return damaged("seen: %v", err)
	}
	if s.Accepted, err = fromText(accepted, identity.ValidSession); err != nil {
		return damaged("accepted sessions: %v", err)
	}
	invalid := func(session string) bool { return !identity.ValidSession(session) }
	switch {
	case slices.ContainsFunc(s.Sessions, invalid) || len(s.Sessions) > sessionsMax:
		return damaged("the sessions are %q", s.Sessions)
	case found != version:
		return damaged("format %d", found)
	case sum != want:
		return damaged("the sum is %q, want %q", sum, want)
	case !identity.ValidIncarnation(s.Incarnation):
		return damaged("the incarnation is %q", s.Incarnation)
	case !identity.ValidGeneration(s.Generation) && s.Generation != identity.Joining:
		return damaged("the generation is %q", s.Generation)
	}
	return s, all, nil
}

// toText returns a map with member IDs as hex digits.
func toText[V any](byID map[uint64]V) map[string]V {
	byText := make(map[string]V, len(byID))
	for id, v := range byID {
		byText[strconv.FormatUint(id, 16)] = v
	}
	return byText
}

// fromText reads what toText wrote.
func fromText[V any](byText map[string]V, valid func(V) bool) (map[uint64]V, error) {
	byID := make(map[uint64]V, len(byText))
	for text, v := range byText {
		id, err := strconv.ParseUint(text, 16, 64)
		if _, twice := byID[id]; err != nil || twice || !valid(v) {
			return nil, fmt.Errorf("member %q has %+v", text, v)
		}
		byID[id] = v
	}
	return byID, nil
}

// take removes a field, which has to be there, and reads it.
func (f fields) take(name string, to any) error {
	text, ok := f[name]
	if !ok {
		return fmt.Errorf("the field %q is missing", name)
	}
	delete(f, name)
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("the field %q: %w", name, err)
	}
	return nil
}

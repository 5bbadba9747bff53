package main

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"etcd2/membership"
)

// setting is the value of one flag: a function turns its text into a T.
type setting[T any] struct {
	to    *T
	kind  string // shown by shell completion
	parse func(string) (T, error)
	show  func(T) string
}

func (s *setting[T]) Set(text string) error {
	v, err := s.parse(text)
	if err != nil {
		return err
	}
	*s.to = v
	return nil
}

func (s *setting[T]) String() string { return s.show(*s.to) }
func (s *setting[T]) Type() string   { return s.kind }

// Kinds of settings that a configuration file may write in another form too.
const (
	kindBool    = "bool"
	kindURLs    = "urls"
	kindOrigins = "origins"
)

func text(to *string) *setting[string] {
	return &setting[string]{to: to, kind: "string", show: verbatim,
		parse: func(s string) (string, error) { return s, nil }}
}

func boolean(to *bool) *setting[bool] {
	return &setting[bool]{to: to, kind: kindBool, show: strconv.FormatBool,
		parse: func(s string) (bool, error) {
			v, err := strconv.ParseBool(s)
			return v, numberError(err)
		}}
}

func unsigned64(to *uint64) *setting[uint64] {
	return &setting[uint64]{to: to, kind: "uint", parse: parseUint,
		show: func(v uint64) string { return strconv.FormatUint(v, 10) }}
}

func unsigned(to *uint) *setting[uint] {
	return &setting[uint]{to: to, kind: "uint",
		show: func(v uint) string { return strconv.FormatUint(uint64(v), 10) },
		parse: func(s string) (uint, error) {
			v, err := strconv.ParseUint(s, 0, strconv.IntSize)
			return uint(v), numberError(err)
		}}
}

// count is a number of things of which there is at least one.
func count(to *int) *setting[int] {
	return &setting[int]{to: to, kind: "int", show: strconv.Itoa,
		parse: func(s string) (int, error) {
			v, err := strconv.ParseInt(s, 0, strconv.IntSize)
			if err == nil && v < 1 {
				err = errors.New("must be at least 1")
			}
			return int(v), numberError(err)
		}}
}

// millis is a time given as a whole number of milliseconds.
func millis(to *time.Duration) *setting[time.Duration] {
	return &setting[time.Duration]{to: to, kind: "milliseconds",
		show: func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) },
		parse: func(s string) (time.Duration, error) {
			v, err := parseUint(s)
			if err == nil && v > uint64(math.MaxInt64/time.Millisecond) {
				err = errors.New("value out of range")
			}
			return time.Duration(v) * time.Millisecond, err
		}}
}

// period is a time with its unit, as 90s or 5m; a bare 0 needs none.
func period(to *time.Duration) *setting[time.Duration] {
	return &setting[time.Duration]{to: to, kind: "duration", show: time.Duration.String,
		parse: func(s string) (time.Duration, error) {
			d, err := time.ParseDuration(s)
			switch {
			case err != nil:
				return 0, errors.New("parse error")
			case d < 0:
				return 0, errors.New("must not be negative")
			}
			return d, nil
		}}
}

func urls(to *[]string) *setting[[]string] {
	return &setting[[]string]{to: to, kind: kindURLs, show: joined, parse: membership.ParseURLs}
}

func origins(to *[]string) *setting[[]string] {
	return &setting[[]string]{to: to, kind: kindOrigins, show: joined,
		parse: func(list string) ([]string, error) {
			if list == "" {
				return nil, nil
			}
			all := strings.Split(list, ",")
			for i, origin := range all {
				all[i] = strings.TrimSpace(origin)
				if _, err := url.Parse(all[i]); err != nil && all[i] != "*" {
					//lint:ignore ST1005 the recorded text
					return nil, fmt.Errorf("Invalid CORS origin: %s", err)
				}
			}
			return all, nil
		}}
}

// oneOf takes one of a few words.
func oneOf(to *string, words ...string) *setting[string] {
	return &setting[string]{to: to, kind: strings.Join(words, "|"), show: verbatim,
		parse: func(s string) (string, error) {
			if !slices.Contains(words, s) {
				return "", errors.New("invalid value")
			}
			return s, nil
		}}
}

// levelName takes the name of a log level.
func levelName(to *string) *setting[string] {
	return &setting[string]{to: to, kind: "level", show: verbatim,
		parse: func(s string) (string, error) {
			if _, err := parseLevel(s); err != nil {
				return "", errors.New("invalid value")
			}
			return s, nil
		}}
}

func verbatim(s string) string    { return s }
func joined(list []string) string { return strings.Join(list, ",") }
func parseUint(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 0, 64)
	return v, numberError(err)
}

// numberError replaces the words of strconv by the shorter ones that messages
// about flags have always had.
func numberError(err error) error {
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return errors.New("parse error")
	case errors.Is(err, strconv.ErrRange):
		return errors.New("value out of range")
	}
	return err
}

// anyInt takes any whole number.
func anyInt(to *int) *setting[int] {
	return &setting[int]{to: to, kind: "int", show: strconv.Itoa,
		parse: func(s string) (int, error) {
			v, err := strconv.ParseInt(s, 0, strconv.IntSize)
			return int(v), numberError(err)
		}}
}

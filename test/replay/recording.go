// Package replay puts recorded conversations to a running server and compares
// every answer with the recorded one, byte for byte.
//
// Two forms of recording are understood. The files in testdata/keys were recorded
// from etcd 2.3.8 and hold exact bytes with blanks for what differs from run
// to run (Recording, Runner). The files in testdata/seeds hold the examples of the
// old documentation, compared as JSON values (Conversation). docs/testing.md
// describes both.
//
// Where this server differs from etcd 2.3.8 on purpose, differences.go names the
// recorded step, the reason and the answer that is expected instead.
package replay

import (
	"encoding/json"
	"fmt"
	"os"
)

// Recording is the list of steps of one file, run in order against a fresh
// member.
type Recording []Step

// Step is one thing to do. Which of the members are set tells what it is.
type Step struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`

	Setup *Setup `json:"setup"`

	Request    *Request  `json:"request"`
	Response   *Response `json:"response"`
	Repeat     int       `json:"repeat"`     // send so often; ${k} counts from 0
	UntilMS    int       `json:"until_ms"`   // repeat until the answer matches, at most so long
	Background string    `json:"background"` // keep the response open under this name

	Await     string `json:"await"`  // the rest of an open response, which must end
	Read      string `json:"read"`   // as many lines as expected from an open response
	Silent    string `json:"silent"` // nothing arrives on an open response, and it stays open
	ForMS     int    `json:"for_ms"`
	TimeoutMS int    `json:"timeout_ms"`
	Close     string `json:"close"` // disconnect

	SleepMS int    `json:"sleep_ms"`
	Restart string `json:"restart"` // "term" or "kill": stop that way and start again
}

// Setup tells how the member of a file is started.
type Setup struct {
	Flags []string `json:"flags"`
}

// Request is one request. Path and RawQuery go on the wire as they stand.
type Request struct {
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Query    [][2]string       `json:"query"`
	RawQuery *string           `json:"raw_query"`
	Form     [][2]string       `json:"form"`
	RawBody  *string           `json:"raw_body"`
	Headers  map[string]string `json:"headers"`
}

// Response is what must come back. A member that is not set is not compared.
type Response struct {
	Status   int                `json:"status"`
	Headers  map[string]*string `json:"headers"` // null: must be absent
	Body     *string            `json:"body"`
	BodyMode string             `json:"body_mode"`
	Contains []string           `json:"body_contains"`
}

// Load reads a recording.
func Load(file string) (Recording, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r Recording
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// Flags returns the further flags of the member this recording wants.
func (r Recording) Flags() []string {
	for _, s := range r {
		if s.Setup != nil {
			return s.Setup.Flags
		}
	}
	return nil
}

// Judged reports whether the step has an expectation. Others only prepare.
func (s Step) Judged() bool { return s.Response != nil || s.Silent != "" }

// String describes the step for a failure.
func (s Step) String() string {
	switch {
	case s.Request != nil:
		what := s.Request.Method + " " + s.Request.Path
		if s.Request.RawQuery != nil {
			what += "?" + *s.Request.RawQuery
		} else if len(s.Request.Query) > 0 {
			what += fmt.Sprintf(" query %v", s.Request.Query)
		}
		if len(s.Request.Form) > 0 {
			what += fmt.Sprintf(" form %.120s", fmt.Sprint(s.Request.Form))
		}
		return what
	case s.Await != "":
		return "await " + s.Await
	case s.Read != "":
		return "read " + s.Read
	case s.Silent != "":
		return "silent " + s.Silent
	case s.Close != "":
		return "close " + s.Close
	case s.Restart != "":
		return "restart " + s.Restart
	default:
		return fmt.Sprintf("sleep %d ms", s.SleepMS)
	}
}

package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// Conversation is the list of steps of one file of testdata/seeds: the examples of
// the old documentation with the answers this server must give. Bodies are
// compared as JSON values, and numbers are carried from answers into later
// requests.
type Conversation []Turn

// Turn is one step of a conversation. Which of the members are set tells what it
// is.
type Turn struct {
	Name string `json:"name"`

	Setup *struct {
		Members int `json:"members"`
	} `json:"setup"`

	Request    *Message `json:"request"`
	Response   *Answer  `json:"response"`
	Background bool     `json:"background"` // send and go on at once
	UntilMS    int      `json:"until_ms"`
	TimeoutMS  int      `json:"timeout_ms"`
	MinMS      int      `json:"min_ms"`
	MaxMS      int      `json:"max_ms"`

	Await   string `json:"await"`  // the answer of a background request
	Silent  string `json:"silent"` // a background request that is still waiting
	ForMS   int    `json:"for_ms"`
	Abort   string `json:"abort"` // the client of a background request goes away
	SleepMS int    `json:"sleep_ms"`
	Assert  string `json:"assert"` // "a < b" over bound numbers
}

// Message is a request of a conversation.
type Message struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Query   *Encoded          `json:"query"`
	Form    *Encoded          `json:"form"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// Answer is what must come back. Body is a JSON value: text, or a pattern for a
// JSON body.
type Answer struct {
	Status  json.RawMessage    `json:"status"` // a number, or a list of allowed ones
	Headers map[string]*string `json:"headers"`
	Body    json.RawMessage    `json:"body"`
}

// Encoded is a query or a form: a ready encoded string, or names and values in
// the order they were written.
type Encoded struct {
	Ready string
	Pairs [][2]string
}

// UnmarshalJSON reads either form and keeps the order of the members.
func (e *Encoded) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &e.Ready)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var v string
		if err := d.Decode(&v); err != nil {
			return err
		}
		text, ok := name.(string)
		if !ok {
			return fmt.Errorf("a member is called %v", name)
		}
		e.Pairs = append(e.Pairs, [2]string{text, v})
	}
	return nil
}

// LoadConversation reads a file of testdata/seeds.
func LoadConversation(file string) (Conversation, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var c Conversation
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

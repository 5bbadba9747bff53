package replay

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// Difference is a recorded step that this server answers otherwise on purpose.
// The reasons are told at length in docs/differences.md.
type Difference struct {
	File, Step string // the recording without ".json" and the name of the step
	Why        string

	// Instead turns the recorded step into the steps that hold for this server. An
	// error means that the recording is not the one this entry was written for.
	Instead func(Step) ([]Step, error)
}

// Differences lists every recorded step that is not judged as recorded. The step
// itself always runs, in the form Instead gives it: our own rule is tested.
func Differences() []Difference {
	const (
		dirUpdate = "an update of a directory stores the modifiedIndex it reports"
		once      = "a stream on exactly the deleted key gets the event once"
		expireDir = "the expire event of a directory says that it was one"
		counters  = "failures are counted as failures"
		downtime  = "a TTL is extended by the time without a leader, and the expiration moves by as much"
	)
	return []Difference{
		{"dirs", "update of a directory with dir=true", dirUpdate,
			swap(`"prevNode":{"key":"/fresh","dir":true,"modifiedIndex":${I+8}`, `"prevNode":{"key":"/fresh","dir":true,"modifiedIndex":${I+9}`)},
		{"dirs", "update left the stored modifiedIndex alone", dirUpdate,
			swap(`"modifiedIndex":${I+8}`, `"modifiedIndex":${I+10}`)},
		{"dirs", "root listing", dirUpdate,
			swap(`"key":"/fresh","dir":true,"modifiedIndex":${I+8}`, `"key":"/fresh","dir":true,"modifiedIndex":${I+10}`)},
		{"dirs", "root listing with a slash", dirUpdate,
			swap(`"key":"/fresh","dir":true,"modifiedIndex":${I+8}`, `"key":"/fresh","dir":true,"modifiedIndex":${I+10}`)},
		{"ttl", "new expiration, old modifiedIndex", dirUpdate,
			swap(`],"modifiedIndex":${I+11}`, `],"modifiedIndex":${I+13}`)},
		{"ttl", "directory ttl removed by an update", dirUpdate,
			swap(`"ttl":${INT 390..402},"modifiedIndex":${I+11}`, `"ttl":${INT 390..402},"modifiedIndex":${I+13}`)},
		{"ttl", "permanent directory", dirUpdate,
			swap(`],"modifiedIndex":${I+11}`, `],"modifiedIndex":${I+14}`)},
		{"index-accounting", "+1 refresh", dirUpdate,
			swap(`"ttl":${INT 290..302},"modifiedIndex":${I+9}`, `"ttl":${INT 290..302},"modifiedIndex":${I+11}`)},
		{"index-accounting", "+0 get", dirUpdate, swap(`],"modifiedIndex":${I+9}`, `],"modifiedIndex":${I+12}`)},
		{"index-accounting", "+0 quorum get", dirUpdate, swap(`],"modifiedIndex":${I+9}`, `],"modifiedIndex":${I+12}`)},
		{"index-accounting", "end", dirUpdate, swap(`],"modifiedIndex":${I+9}`, `],"modifiedIndex":${I+12}`)},
		{"watch", "recursive delete of the directory", dirUpdate, dirWatched},
		{"watch", "the child's watcher gets the event of the directory", dirUpdate, dirWatched},
		{"watch", "the directory's watcher", dirUpdate, dirWatched},
		{"watch", "the root's recursive watcher", dirUpdate, dirWatched},
		{"ttl", "huge ttl overflows into a permanent node on set", "a ttl that cannot be kept is refused",
			refuse("0", 400, `{"errorCode":202,"message":"The given TTL in POST form is not a number","cause":"invalid value for \"ttl\"","index":0}`+"\n")},

		{"expire-events", "a stream on the key itself gets it twice", once, firstLineOnly},
		{"stream", "a delete is delivered twice to a stream on the deleted key itself", once, firstLineOnly},
		{"stream", "twice", once, firstLineOnly},

		{"expire-events", "the child's watcher gets the directory's expire event", expireDir,
			swap(`"node":{"key":"/ed","modified`, `"node":{"key":"/ed","dir":true,"modified`)},
		{"expire-events", "the directory's watcher: node has no dir member", expireDir,
			swap(`"node":{"key":"/ed","modified`, `"node":{"key":"/ed","dir":true,"modified`)},
		{"expire-events", "the past expire is found from the child", expireDir,
			swap(`"node":{"key":"/ed","modified`, `"node":{"key":"/ed","dir":true,"modified`)},

		{"hidden", "history is not filtered: a past hidden event is found by a recursive watch",
			"a watch that starts in the past follows the rules of a live one, so hidden keys stay hidden",
			body(`{"action":"set","node":{"key":"/d/v","value":"13","modifiedIndex":${I+13},"createdIndex":${I+13}},"prevNode":{"key":"/d/v","value":"6","modifiedIndex":${I+6},"createdIndex":${I+6}}}` + "\n")},

		{"stream", "the second past event never comes", "a stream that starts in the past goes on",
			read(`{"action":"set","node":{"key":"/h","value":"2","modifiedIndex":${I+14},"createdIndex":${I+14}},"prevNode":{"key":"/h","value":"1","modifiedIndex":${I+13},"createdIndex":${I+13}}}` + "\n")},
		{"stream", "nor do new ones: such a stream is dead after one event", "a stream that starts in the past goes on",
			read(`{"action":"set","node":{"key":"/h","value":"3","modifiedIndex":${I+15},"createdIndex":${I+15}},"prevNode":{"key":"/h","value":"2","modifiedIndex":${I+14},"createdIndex":${I+14}}}` + "\n")},

		{"restart", "same expiration: it is a point in time", downtime, swap("${TIME:t1}", "${TIME:t2}")},
		{"restart", "expiration", downtime, swap("${TIME:t1}", "${TIME:t3}")},

		{"set-get", "noValueOnSuccess is unknown here: value is echoed", "noValueOnSuccess works as in etcd 3.4",
			body(`{"action":"set"}` + "\n")},

		{"stats-version-health", "after the failing cad", counters, cadFailed},
		{"stats-version-health", "after operations on the root", counters, chain(cadFailed,
			swap(`"deleteSuccess":${S:deleteSuccess+2},"deleteFail":${S:deleteFail+1}`, `"deleteSuccess":${S:deleteSuccess+1},"deleteFail":${S:deleteFail+2}`),
			swap(`"updateSuccess":${S:updateSuccess+2},"updateFail":${S:updateFail+1}`, `"updateSuccess":${S:updateSuccess+1},"updateFail":${S:updateFail+2}`))},
	}
}

// cadFailed moves the failing compare-and-delete from the successes to the
// failures.
var cadFailed = swap(
	`"compareAndDeleteSuccess":${S:compareAndDeleteSuccess+2},"compareAndDeleteFail":${S:compareAndDeleteFail+1}`,
	`"compareAndDeleteSuccess":${S:compareAndDeleteSuccess+1},"compareAndDeleteFail":${S:compareAndDeleteFail+2}`)

// dirWatched is the directory of the recording "watch" after its update.
var dirWatched = swap(`"ttl":${INT 90..102},"modifiedIndex":${I+9}`, `"ttl":${INT 90..102},"modifiedIndex":${I+10}`)

type rewrite = func(Step) ([]Step, error)

// swap replaces one piece of the expected body.
func swap(old, now string) rewrite {
	return func(s Step) ([]Step, error) {
		if s.Response == nil || s.Response.Body == nil || strings.Count(*s.Response.Body, old) != 1 {
			return nil, fmt.Errorf("the recorded body of %q does not hold %q exactly once", s.Name, old)
		}
		return body(strings.Replace(*s.Response.Body, old, now, 1))(s)
	}
}

// body expects another body and leaves the rest of the response as recorded.
func body(want string) rewrite {
	return func(s Step) ([]Step, error) {
		r := Response{}
		if s.Response != nil {
			r = *s.Response
		}
		r.Body = &want
		s.Response = &r
		return []Step{s}, nil
	}
}

// refuse expects an error: its status, its X-Etcd-Index and its body.
func refuse(index string, status int, want string) rewrite {
	return func(s Step) ([]Step, error) {
		typ := "application/json"
		s.Response = &Response{
			Status:  status,
			Headers: map[string]*string{"Content-Type": &typ, "X-Etcd-Index": &index, "X-Raft-Index": nil, "X-Raft-Term": nil},
			Body:    &want,
		}
		return []Step{s}, nil
	}
}

// read expects lines where the recording has silence.
func read(want string) rewrite {
	return func(s Step) ([]Step, error) {
		if s.Silent == "" {
			return nil, fmt.Errorf("%q is not a silent step", s.Name)
		}
		return []Step{{Name: s.Name, Read: s.Silent, Response: &Response{Body: &want}}}, nil
	}
}

// firstLineOnly expects the first of two equal lines, and nothing after it.
func firstLineOnly(s Step) ([]Step, error) {
	if s.Read == "" || s.Response == nil || s.Response.Body == nil {
		return nil, fmt.Errorf("%q does not read from a stream", s.Name)
	}
	first, second, _ := strings.Cut(*s.Response.Body, "\n")
	if first+"\n" != second {
		return nil, fmt.Errorf("%q does not expect one line twice", s.Name)
	}
	steps, err := body(second)(s)
	return append(steps, Step{Name: s.Name + " (no more)", Silent: s.Read, ForMS: 200}), err
}

// chain applies one rewrite after the other; each must give one step.
func chain(fs ...rewrite) rewrite {
	return func(s Step) ([]Step, error) {
		for _, f := range fs {
			steps, err := f(s)
			if err != nil {
				return nil, err
			}
			s = steps[0]
		}
		return []Step{s}, nil
	}
}

// SeedDifference is a turn of a conversation that this server answers otherwise
// on purpose.
type SeedDifference struct {
	File, Turn string
	Why        string
	Node, Prev map[string]any // members of node and prevNode that are expected instead
}

// SeedDifferences lists every turn that is not judged as written.
func SeedDifferences() []SeedDifference {
	return []SeedDifference{
		{
			"002-keys", "S15 expire event of the directory",
			"the expire event of a directory says that it was one, and the update before it was stored as reported",
			map[string]any{"dir": true}, map[string]any{"modifiedIndex": "<int>"},
		},
	}
}

// Instead returns the turn with the answer that holds for this server.
func (d SeedDifference) Instead(u Turn) (Turn, error) {
	if u.Response == nil {
		return u, fmt.Errorf("%q expects no answer", u.Name)
	}
	var all map[string]any
	if err := json.Unmarshal(u.Response.Body, &all); err != nil {
		return u, err
	}
	for member, set := range map[string]map[string]any{"node": d.Node, "prevNode": d.Prev} {
		node, ok := all[member].(map[string]any)
		if !ok {
			return u, fmt.Errorf("the answer of %q has no %s", u.Name, member)
		}
		maps.Copy(node, set)
	}
	body, err := json.Marshal(all)
	answer := *u.Response
	answer.Body, u.Response = body, &answer
	return u, err
}

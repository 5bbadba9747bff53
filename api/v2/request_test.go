package v2

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"etcd2/store"
)

func TestParseWrites(t *testing.T) {
	tests := []struct {
		name, method, key, query, body string
		want                           store.Op
	}{
		{"set", "PUT", "/foo", "", "value=bar",
			store.Op{Action: store.Set, Path: "/1/foo", Value: "bar"}},
		{"value in the query", "PUT", "/foo", "value=bar", "",
			store.Op{Action: store.Set, Path: "/1/foo", Value: "bar"}},
		{"the body comes first", "PUT", "/foo", "value=query", "value=body",
			store.Op{Action: store.Set, Path: "/1/foo", Value: "body"}},
		{"an empty value in the body too", "PUT", "/foo", "value=query", "value",
			store.Op{Action: store.Set, Path: "/1/foo"}},
		{"the first value counts", "PUT", "/foo", "", "value=one&value=two",
			store.Op{Action: store.Set, Path: "/1/foo", Value: "one"}},
		{"trailing slash", "PUT", "/foo/", "", "",
			store.Op{Action: store.Set, Path: "/1/foo"}},
		{"the root", "PUT", "/", "", "",
			store.Op{Action: store.Set, Path: "/1"}},
		{"the root without a slash", "PUT", "", "", "",
			store.Op{Action: store.Set, Path: "/1"}},
		{"escapes", "PUT", "/foo", "", "%76alue=a+b%2Bc%20d",
			store.Op{Action: store.Set, Path: "/1/foo", Value: "a b+c d"}},
		{"names are case sensitive", "PUT", "/foo", "", "Value=x&VALUE=y",
			store.Op{Action: store.Set, Path: "/1/foo"}},
		{"directory, the value is dropped", "PUT", "/foo", "dir=true", "value=bar",
			store.Op{Action: store.Set, Path: "/1/foo", Dir: true}},
		{"ttl", "PUT", "/foo", "ttl=00100", "value=bar",
			store.Op{Action: store.Set, Path: "/1/foo", Value: "bar", HasTTL: true, TTL: 100 * time.Second}},
		{"ttl of nothing", "PUT", "/foo", "ttl=0", "",
			store.Op{Action: store.Set, Path: "/1/foo", HasTTL: true}},
		{"an empty ttl is none", "PUT", "/foo", "ttl=&ttl=5", "",
			store.Op{Action: store.Set, Path: "/1/foo"}},
		{"longest ttl", "PUT", "/foo", "ttl=1000000000", "",
			store.Op{Action: store.Set, Path: "/1/foo", HasTTL: true, TTL: 1e9 * time.Second}},
		{"refresh", "PUT", "/foo", "refresh=1&ttl=5&value=", "",
			store.Op{Action: store.Set, Path: "/1/foo", Refresh: true, HasTTL: true, TTL: 5 * time.Second}},

		{"create", "PUT", "/foo", "prevExist=false", "value=bar",
			store.Op{Action: store.Create, Path: "/1/foo", Value: "bar"}},
		{"create has no compare", "PUT", "/foo", "prevExist=F&prevValue=x&prevIndex=5", "value=bar",
			store.Op{Action: store.Create, Path: "/1/foo", Value: "bar"}},
		{"create with refresh is a create", "PUT", "/foo", "prevExist=false&refresh=true&ttl=5", "",
			store.Op{Action: store.Create, Path: "/1/foo", HasTTL: true, TTL: 5 * time.Second}},
		{"update", "PUT", "/foo", "prevExist=true", "value=bar",
			store.Op{Action: store.Update, Path: "/1/foo", Value: "bar"}},
		{"update ignores dir", "PUT", "/foo", "prevExist=true&dir=true", "value=bar",
			store.Op{Action: store.Update, Path: "/1/foo", Value: "bar"}},
		{"update with refresh", "PUT", "/foo", "prevExist=true&refresh=true&ttl=5", "",
			store.Op{Action: store.Update, Path: "/1/foo", Refresh: true, HasTTL: true, TTL: 5 * time.Second}},
		{"compare value", "PUT", "/foo", "prevValue=a&dir=true", "value=bar",
			store.Op{Action: store.CompareAndSwap, Path: "/1/foo", Value: "bar", PrevValue: "a"}},
		{"compare index of an existing key", "PUT", "/foo", "prevIndex=18446744073709551615&prevExist=true", "value=bar",
			store.Op{Action: store.CompareAndSwap, Path: "/1/foo", Value: "bar", PrevIndex: 1<<64 - 1}},
		{"index 0 is no condition", "PUT", "/foo", "prevIndex=0", "value=bar",
			store.Op{Action: store.Set, Path: "/1/foo", Value: "bar"}},

		{"in order", "POST", "/q", "", "value=job",
			store.Op{Action: store.CreateInOrder, Path: "/1/q", Value: "job"}},
		{"in order ignores conditions", "POST", "/q", "prevExist=true&prevValue=x&prevIndex=3&refresh=true&ttl=5", "",
			store.Op{Action: store.CreateInOrder, Path: "/1/q", HasTTL: true, TTL: 5 * time.Second}},
		{"directory in order", "POST", "/q", "dir=true", "value=job",
			store.Op{Action: store.CreateInOrder, Path: "/1/q", Dir: true}},

		{"delete", "DELETE", "/foo", "prevExist=true&value=x&ttl=5", "",
			store.Op{Action: store.Delete, Path: "/1/foo"}},
		{"delete a directory", "DELETE", "/foo", "dir=true", "",
			store.Op{Action: store.Delete, Path: "/1/foo", Dir: true}},
		{"recursive implies dir", "DELETE", "/foo", "recursive=true", "",
			store.Op{Action: store.Delete, Path: "/1/foo", Dir: true, Recursive: true}},
		{"compare and delete", "DELETE", "/foo", "prevValue=a&prevIndex=7&recursive=true&dir=true", "",
			store.Op{Action: store.CompareAndDelete, Path: "/1/foo", PrevValue: "a", PrevIndex: 7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := parseKeys(tt.method, tt.key, tt.query, tt.body)
			if err != nil {
				t.Fatalf("parseKeys(%s, %q, %q, %q) error = %v", tt.method, tt.key, tt.query, tt.body, err)
			}
			if q.kind != writes || q.op != tt.want {
				t.Errorf("parseKeys(%s, %q, %q, %q) = kind %d, %+v, want %+v", tt.method, tt.key, tt.query, tt.body, q.kind, q.op, tt.want)
			}
		})
	}
}

func TestParseReads(t *testing.T) {
	tests := []struct {
		method, query string
		want          request
	}{
		{"GET", "", request{kind: reads}},
		{"GET", "recursive=true&sorted=true&consistent=false", request{kind: reads, recursive: true}},
		{"HEAD", "recursive=t", request{kind: reads, recursive: true}},
		{"HEAD", "quorum=true", request{kind: reads}},
		{"HEAD", "quorum=false", request{kind: reads, local: true}},
		{"GET", "quorum=false", request{kind: reads, local: true}},
		{"GET", "maxStale=250ms", request{kind: reads, bounded: true, maxStale: 250 * time.Millisecond}},
		{"GET", "maxStale=2&quorum=false", request{kind: reads, local: true, bounded: true, maxStale: 2 * time.Second}},
		{"GET", "maxStale=1000000000s", request{kind: reads, bounded: true, maxStale: maxStaleMax}},
		{"GET", "maxStale=0&maxStale=x", request{kind: reads, bounded: true}},
		{"GET", "quorum=true&maxStale=1s", request{kind: agreed}},
		{"GET", "wait=true&maxStale=1s", request{kind: watches}},
		{"GET", "quorum=true", request{kind: agreed}},
		{"GET", "quorum=true&wait=true", request{kind: agreed}}, // as recorded: the wait is lost
		{"GET", "wait=true", request{kind: watches}},
		{"GET", "wait=true&quorum=false&recursive=1&stream=T&waitIndex=42",
			request{kind: watches, recursive: true, stream: true, since: 42}},
		{"GET", "wait=false&waitIndex=42", request{kind: reads, since: 42}},
	}
	for _, tt := range tests {
		got, err := parseKeys(tt.method, "/foo", tt.query, "")
		if err != nil {
			t.Errorf("parseKeys(%s, %q) error = %v", tt.method, tt.query, err)
			continue
		}
		got.op = store.Op{}
		tt.want.path = "/1/foo"
		if got != tt.want {
			t.Errorf("parseKeys(%s, %q) = %+v, want %+v", tt.method, tt.query, got, tt.want)
		}
	}
}

func TestParseRefusals(t *testing.T) {
	type c struct {
		method, query, body string
		code                store.Code
		cause               string
	}
	var tests []c
	for _, name := range []string{"prevIndex", "waitIndex"} {
		for _, v := range []string{"-1", "abc", "", "1.5", "18446744073709551616", "0x10", "+5", "%2B5", "1_0"} {
			tests = append(tests, c{"GET", name + "=" + v, "", store.IndexNaN, `invalid value for "` + name + `"`})
		}
	}
	for _, name := range []string{"recursive", "sorted", "wait", "dir", "quorum", "stream", "noValueOnSuccess"} {
		for _, v := range []string{"=maybe", "=", "", "=yes", "=tRUE", "=2", "=true+"} {
			tests = append(tests, c{"GET", name + v, "", store.InvalidField, `invalid value for "` + name + `"`})
		}
	}
	for _, v := range []string{"=", "", "=soon", "=1.5", "=-1s", "=-1", "=5%20s", "=1000000001", "=1000000000.1s", "=9999999999"} {
		for _, method := range []string{"GET", "HEAD", "PUT"} {
			tests = append(tests, c{method, "maxStale" + v, "", store.InvalidField, `invalid value for "maxStale"`})
		}
	}
	for _, v := range []string{"-1", "abc", "1.5", "18446744073709551616", "0x10", "+5", "1s", "1000000001"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "POST", "HEAD"} {
			tests = append(tests, c{method, "ttl=" + v, "", store.TTLNaN, `invalid value for "ttl"`})
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "HEAD"} {
		tests = append(tests, c{method, "wait=true", "", store.InvalidField, `"wait" can only be used with GET requests`})
	}
	// Each line has every fault from its own on, the last parameter first: the
	// answer is the first fault in the order of the protocol.
	order := []struct {
		fault string
		code  store.Code
		cause string
	}{
		{"prevIndex=x", store.IndexNaN, `invalid value for "prevIndex"`},
		{"waitIndex=x", store.IndexNaN, `invalid value for "waitIndex"`},
		{"recursive=x", store.InvalidField, `invalid value for "recursive"`},
		{"sorted=x", store.InvalidField, `invalid value for "sorted"`},
		{"wait=x", store.InvalidField, `invalid value for "wait"`},
		{"dir=x", store.InvalidField, `invalid value for "dir"`},
		{"quorum=x", store.InvalidField, `invalid value for "quorum"`},
		{"stream=x", store.InvalidField, `invalid value for "stream"`},
		{"prevValue=", store.PrevValueEmpty, `"prevValue" cannot be empty`},
		{"noValueOnSuccess=x", store.InvalidField, `invalid value for "noValueOnSuccess"`},
		{"ttl=x", store.TTLNaN, `invalid value for "ttl"`},
		{"prevExist=x", store.InvalidField, "invalid value for prevExist"},
		{"refresh=x", store.InvalidField, "invalid value for refresh"},
	}
	all := ""
	for i := len(order) - 1; i >= 0; i-- {
		all += "&" + order[i].fault
		tests = append(tests,
			c{"PUT", all, "", order[i].code, order[i].cause},
			c{"PUT", "", all, order[i].code, order[i].cause},
			c{"GET", all, "", order[i].code, order[i].cause})
	}
	tests = append(tests,
		c{"PUT", "wait=true&stream=x", "", store.InvalidField, `invalid value for "stream"`},
		c{"PUT", "prevValue=&wait=true", "", store.InvalidField, `"wait" can only be used with GET requests`},
		c{"PUT", "dir=false", "dir=maybe", store.InvalidField, `invalid value for "dir"`},
		c{"PUT", "refresh=true&value=1", "", store.RefreshValue, "A value was provided on a refresh"},
		c{"PUT", "refresh=true&value=1&ttl=5", "", store.RefreshValue, "A value was provided on a refresh"},
		c{"PUT", "refresh=true", "", store.RefreshTTLNeeded, "No TTL value set"},
		c{"PUT", "refresh=true&ttl=", "", store.RefreshTTLNeeded, "No TTL value set"},
		c{"POST", "refresh=true", "", store.RefreshTTLNeeded, "No TTL value set"},
		c{"PUT", "ttl=x&refresh=true&value=1", "", store.TTLNaN, `invalid value for "ttl"`},

		c{"PUT", "", "value=%zz", store.InvalidForm, `invalid URL escape "%zz"`},
		c{"PUT", "value=%zz", "", store.InvalidForm, `invalid URL escape "%zz"`},
		c{"GET", "recursive=x&a=%g", "", store.InvalidForm, `invalid URL escape "%g"`},
		c{"GET", "%4=1&b=%zz", "", store.InvalidForm, `invalid URL escape "%4"`},
		c{"GET", "value=1&value=%", "", store.InvalidForm, `invalid URL escape "%"`},
		c{"GET", "a=%z1234", "", store.InvalidForm, `invalid URL escape "%z1"`},
		c{"PUT", "", "value=a;dir=true", store.InvalidForm, "invalid semicolon separator in query"},
		c{"PUT", "", "value=%zz&a;b", store.InvalidForm, "invalid semicolon separator in query"},
		c{"PUT", "a;b", "value=%zz", store.InvalidForm, `invalid URL escape "%zz"`},
		c{"GET", ";", "", store.InvalidForm, "invalid semicolon separator in query"},
	)
	for _, tt := range tests {
		_, err := parseKeys(tt.method, "/x", tt.query, tt.body)
		if err == nil || err.Code != tt.code || err.Cause != tt.cause || err.Index != 0 {
			t.Errorf("parseKeys(%s, query %q, body %q) error = %v, want code %d, cause %q",
				tt.method, tt.query, tt.body, err, tt.code, tt.cause)
		}
	}
}

func TestParseTakesManyParameters(t *testing.T) {
	_, err := parseKeys("GET", "/x", strings.Repeat("a=b&", 20000)+"recursive=true", "")
	if err != nil {
		t.Errorf("20001 parameters: error = %v, want none", err)
	}
}

func TestParseBoundsKeys(t *testing.T) {
	long := "/" + strings.Repeat("k", keyBytesMax-len("/1/")+1)
	deep := strings.Repeat("/d", keyDepthMax)
	for _, key := range []string{long, deep} {
		for _, method := range []string{"PUT", "POST"} {
			if _, err := parseKeys(method, key, "", ""); err == nil || err.Code != store.InvalidField {
				t.Errorf("parseKeys(%s, key of %d bytes) error = %v, want code %d", method, len(key), err, store.InvalidField)
			}
		}
		for _, method := range []string{"GET", "DELETE"} {
			if _, err := parseKeys(method, key, "", ""); err != nil {
				t.Errorf("parseKeys(%s, key of %d bytes) error = %v, want none", method, len(key), err)
			}
		}
		if _, err := parseKeys("PUT", key[:len(key)-2], "", ""); err != nil {
			t.Errorf("parseKeys(PUT, key of %d bytes) error = %v, want none", len(key)-2, err)
		}
	}
}

// FuzzForm compares what a request means with what net/http says about it.
func FuzzForm(f *testing.F) {
	f.Add("PUT", "value=a&dir=1", formType, "value=b&ttl=5")
	f.Add("PUT", "%76alue=a+b", "application/x-www-form-urlencoded; charset=utf-8", "value=%zz&a;b")
	f.Add("POST", "a;b", "APPLICATION/X-WWW-FORM-URLENCODED", "=x&&=&value")
	f.Add("GET", "wait&recursive=", formType, "value=x")
	f.Add("DELETE", "%", "a/b; ;", "")
	f.Add("PUT", "", "a/b; ;", "value=a")
	f.Add("PUT", "", "application/x-www-form-urlencoded;a=b;a=c", "value=a")
	f.Add("PUT", "prevValue=%ff%00", "multipart/form-data; boundary=x", "--x--")
	f.Fuzz(func(t *testing.T, method, query, contentType, body string) {
		raw := fmt.Sprintf("%s /v2/keys/x?%s HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			method, query, contentType, len(body), body)
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil || strings.Count(query+body, "&") > 9000 {
			return // net/http refuses the first; the second only current versions do
		}
		if r.Method == "PATCH" || r.URL.Path != "/v2/keys/x" {
			return
		}
		var got form
		ok, cause := carriesForm(r.Method, r.Header.Get("Content-Type"))
		if cause == "" && ok {
			var b bytes.Buffer
			if _, err := b.ReadFrom(r.Body); err != nil {
				return
			}
			cause = got.add(b.String())
			r.Body = readCloser{bytes.NewBufferString(body[:min(len(body), int(r.ContentLength))])}
		}
		if cause == "" {
			cause = got.add(r.URL.RawQuery)
		}
		wantErr := r.ParseForm()
		if (cause != "") != (wantErr != nil) || wantErr != nil && cause != wantErr.Error() {
			t.Fatalf("cause %q, net/http says %v", cause, wantErr)
		}
		if wantErr != nil {
			return
		}
		for _, name := range []string{
			"prevIndex", "waitIndex", "recursive", "sorted", "wait", "dir", "quorum", "stream",
			"prevValue", "noValueOnSuccess", "ttl", "prevExist", "refresh", "value",
		} {
			p, _ := knownParam(name)
			want, given := r.Form[name]
			if got.given[p] != given || given && got.values[p] != want[0] {
				t.Fatalf("%s = %q, given %t; net/http says %q", name, got.values[p], got.given[p], want)
			}
		}
	})
}

type readCloser struct{ *bytes.Buffer }

func (readCloser) Close() error { return nil }

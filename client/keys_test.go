package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeysRequests: what each call asks for.
func TestKeysRequests(t *testing.T) {
	var asked string
	c := newClient(t, Config{Endpoints: []string{"http://h:1/base"}, Transport: carrier(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		asked = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
		return says(200, oneNode), nil
	})})
	k := c.Keys()
	type result struct {
		*Response
		error
	}
	of := func(r *Response, err error) result { return result{r, err} }
	tests := []struct {
		name string
		call func(context.Context) result
		want string
	}{
		{"get", func(ctx context.Context) result { return of(k.Get(ctx, "k", GetOptions{Quorum: true})) }, "GET /base/v2/keys/k?quorum=true&recursive=false&sorted=false"},
		{"list the root", func(ctx context.Context) result {
			return of(k.Get(ctx, "/", GetOptions{Recursive: true, Sorted: true}))
		}, "GET /base/v2/keys/?quorum=false&recursive=true&sorted=true"},
		{"odd name", func(ctx context.Context) result { return of(k.Get(ctx, "/a b/?%\xff", GetOptions{})) }, "GET /base/v2/keys/a%20b/%3F%25%FF?quorum=false&recursive=false&sorted=false"},
		{"set", func(ctx context.Context) result {
			return of(k.Set(ctx, "/k", "a=1&b", SetOptions{TTL: 5 * time.Second}))
		}, "PUT /base/v2/keys/k ttl=5&value=a%3D1%26b"},
		{"swap", func(ctx context.Context) result {
			return of(k.Set(ctx, "/k", "", SetOptions{PrevValue: "o", PrevIndex: 3}))
		}, "PUT /base/v2/keys/k?prevIndex=3&prevValue=o value="},
		{"refresh", func(ctx context.Context) result {
			return of(k.Set(ctx, "/k", "", SetOptions{Refresh: true, TTL: 1500 * time.Millisecond}))
		}, "PUT /base/v2/keys/k?prevExist=true refresh=true&ttl=2"},
		{"directory", func(ctx context.Context) result {
			return of(k.Set(ctx, "/d", "", SetOptions{Dir: true, PrevExist: PrevMissing}))
		}, "PUT /base/v2/keys/d?dir=true&prevExist=false"},
		{"create", func(ctx context.Context) result { return of(k.Create(ctx, "/k", "v", 0)) }, "PUT /base/v2/keys/k?prevExist=false value=v"},
		{"update", func(ctx context.Context) result { return of(k.Update(ctx, "/k", "v", 0)) }, "PUT /base/v2/keys/k?prevExist=true value=v"},
		{"in order", func(ctx context.Context) result { return of(k.CreateInOrder(ctx, "/q", "v", 0)) }, "POST /base/v2/keys/q value=v"},
		{"delete", func(ctx context.Context) result {
			return of(k.Delete(ctx, "/k", DeleteOptions{Recursive: true, Dir: true, PrevIndex: 9}))
		}, "DELETE /base/v2/keys/k?dir=true&prevIndex=9&recursive=true"},
		{"other prefix", func(ctx context.Context) result { return of(c.KeysBelow("").Delete(ctx, "/t/k", DeleteOptions{})) }, "DELETE /base/t/k"},
		{"watch", func(ctx context.Context) result {
			return of(k.Watcher("/k", WatcherOptions{AfterIndex: 8, Recursive: true}).Next(ctx))
		}, "GET /base/v2/keys/k?recursive=true&wait=true&waitIndex=9"},
	}
	for _, tt := range tests {
		r := tt.call(t.Context())
		if asked != tt.want || r.error != nil || r.Index != 7 || r.Node.ModifiedIndex != 4 {
			t.Errorf("%s: asked %q, want %q; got %+v, %v", tt.name, asked, tt.want, r.Response, r.error)
		}
	}
}

func TestDecodeResponse(t *testing.T) {
	tests := []struct {
		name   string
		status int
		index  string
		body   string
		want   error // nil: good
	}{
		{"good", 200, "12", oneNode, nil},
		{"created, no index", 201, "", oneNode, nil},
		{"refused", 404, "12", `{"errorCode":100,"message":"Key not found","cause":"/two","index":4}`, errors.New("100: Key not found (/two) [4]")},
		{"page", 404, "", "404 page not found\n", ErrInvalidJSON},
		{"JSON of another kind", 403, "", `{"message":"no"}`, ErrInvalidJSON},
		{"empty", 200, "12", "", ErrEmptyBody},
		{"page instead of JSON", 200, "", "<html>", ErrInvalidJSON},
		{"no node", 200, "", "{}", ErrInvalidJSON},
		{"negative index", 200, "-1", oneNode, ErrInvalidJSON},
		{"other type", 200, "", `{"node":{"value":1}}`, ErrInvalidJSON},
		{"negative modifiedIndex", 200, "", `{"node":{"modifiedIndex":-1}}`, ErrInvalidJSON},
		{"deep", 200, "", `{"node":` + strings.Repeat(`{"nodes":[`, 20000), ErrInvalidJSON},
		{"nodes that are none", 200, "", `{"node":{"nodes":[null,{}]}}`, nil},
	}
	for _, tt := range tests {
		a := &Answer{Status: tt.status, Header: http.Header{}, Body: []byte(tt.body)}
		if tt.index != "" {
			a.Header.Set("X-Etcd-Index", tt.index)
		}
		r, err := decodeResponse(a)
		if (err == nil) != (tt.want == nil) || err != nil && err.Error() != tt.want.Error() || (r == nil) != (err != nil) {
			t.Errorf("%s: decodeResponse = %+v, %v, want error %v", tt.name, r, err, tt.want)
		}
	}
}

func TestAnswerBytesMax(t *testing.T) {
	body := oneNode
	c := newClient(t, Config{Endpoints: []string{"http://h:1"}, AnswerBytesMax: int64(len(oneNode)), Transport: carrier(func(*http.Request) (*http.Response, error) {
		return says(200, body), nil
	})})
	if _, err := c.Keys().Get(t.Context(), "/", GetOptions{}); err != nil {
		t.Errorf("Get of the longest answer = %v", err)
	}
	body += " "
	if _, err := c.Keys().Get(t.Context(), "/", GetOptions{}); err != ErrTooLong {
		t.Errorf("Get of one byte more = %v", err)
	}
}

// TestWatcher: polls without an event are begun again, ever more slowly when the
// server ends them at once, and the next poll begins behind the last event.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var polls []time.Duration
		var index string
		c := newClient(t, Config{Endpoints: []string{"http://h:1"}, Transport: carrier(func(r *http.Request) (*http.Response, error) {
			polls = append(polls, time.Since(began))
			index = r.URL.Query().Get("waitIndex")
			switch {
			case len(polls) <= 10:
				return says(200, ""), nil
			case len(polls) == 11:
				time.Sleep(time.Minute)
				return says(200, ""), nil
			}
			return says(200, oneNode), nil
		})})
		w := c.Keys().Watcher("/k", WatcherOptions{})
		if r, err := w.Next(t.Context()); err != nil || r.Node.ModifiedIndex != 4 || index != "0" {
			t.Fatalf("Next = %+v, %v after waiting for %q", r, err, index)
		}
		if got, want := polls[10], 21350*time.Millisecond; got != want { // 50ms doubled up to 5s
			t.Errorf("eleventh poll after %v, want %v", got, want)
		}
		if got := polls[11] - polls[10]; got != time.Minute+pauseMin {
			t.Errorf("the poll behind a long one began %v later", got)
		}
		if _, err := w.Next(t.Context()); err != nil || index != "5" {
			t.Errorf("the second poll waits for %q, %v", index, err)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	for _, body := range []string{oneNode, "", "{}", "null", `{"errorCode":100}`, `{"node":{"nodes":[null,{"nodes":[{}]}],"ttl":-1,"expiration":"2016-01-02T03:04:05Z"},"prevNode":{}}`} {
		f.Add(200, "7", []byte(body))
		f.Add(404, "x", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, index string, body []byte) {
		a := &Answer{Status: status, Header: http.Header{"X-Etcd-Index": {index}}, Body: body}
		if r, err := decodeResponse(a); (r == nil) == (err == nil) {
			t.Fatalf("decodeResponse(%d, %q) = %v, %v", status, body, r, err)
		} else if err != nil && err.Error() == "" {
			t.Fatalf("decodeResponse(%d, %q): an error without a word", status, body)
		}
		if e := statusError(a); e.Error() == "" {
			t.Fatalf("statusError(%d, %q) has no word", status, body)
		}
	})
}

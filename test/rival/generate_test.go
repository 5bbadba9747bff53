package rival

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes the requests of one conversation from its seed.
type generator struct {
	r     *rand.Rand
	index uint64 // etcd index that the servers had last
	wild  bool   // odd paths, methods and messages too
}

func (g *generator) pick(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *generator) one(in int) bool { return g.r.IntN(in) == 0 }

var files = []string{"/f", "/g", "/d/f", "/d/g", "/d/e/f", "/_h", "/d/_h", "/d/_x/f", "/_y/f", "/fo", "/foo"}

var dirs = []string{"/d", "/d/e", "/d/_x", "/_y", "/q", "/", "", "/d/"}

func (g *generator) key() string {
	switch n := g.r.IntN(20); {
	case n < 11:
		return g.pick(files...)
	case n < 16:
		return g.pick(dirs...)
	case n < 17:
		return g.pick("/f/x", "/d/f/x/y", "/none", "/none/x", "/d/none/z")
	case n < 18:
		return g.pick("/1", "/1/f", "/0", "/0/members", "/2", "/_etcd", "/%66", "/d%2Ff", "/a+b", "/a%20b", "/%C3%A9", "/%e9", "/a%00b", "/%3c%26%3e", "/%22q%5c", "/%7f", "/%e2%80%a8", "/A", "/...", "/.a", "/a.", "/~", "/f%2F", "/:x", "/a:b", "/@", "/;a", "/f;b=c", "/a=b&c", "/!$'()*,")
	}
	if g.wild {
		return g.pick("//f", "/d//f", "/./f", "/../f", "/d/..", "/%2e/f", "/%2e%2e/%2e%2e/0/x", "/d%2F%2Ff", "/%zz", "/%4", "/%", "/d/../", "//", "/.", "/d/./", "/..%2f..%2f2", "/%2F", "/%2f%2f")
	}
	return g.pick(files...)
}

var values = []string{"", "1", "2", "a+b", "%20", "%3c%3e%26", "%22%5c%2f", "%e2%80%a8%e2%80%a9", "%ff%fe", "%c3%a9", "%00%01%1f%7f", "%0a%0d%09", "x%26y", "%ef%bf%bd", "%ed%a0%80", "%f0%9f%98%80", "true", "a=b"}

func (g *generator) flag() string {
	if g.one(8) {
		return g.pick("", "yes", "TRUE", "t", "F", "False", "2", "tRUE", "+1", "%31", "true%20")
	}
	return g.pick("true", "false", "1", "0", "true")
}

func (g *generator) number() string {
	switch g.r.IntN(8) {
	case 0:
		return g.pick("", "-1", "+1", "1.0", "0x10", "x", "18446744073709551615", "18446744073709551616", "00", "1_0", "%31", "%2B1")
	case 1:
		return "0"
	}
	return fmt.Sprint(max(1, int64(g.index)-int64(g.r.IntN(8))))
}

func (g *generator) ttl() string {
	if g.one(6) {
		return g.pick("", "-1", "abc", "1.5", "%31000", "+5", "0100", "1e3", "18446744073709551616")
	}
	return g.pick("1000", "5000", "86400", "100000000")
}

// parameter returns one encoded name=value.
func (g *generator) parameter(likely ...string) string {
	name := g.pick("prevIndex", "waitIndex", "recursive", "sorted", "dir", "quorum", "stream", "prevValue", "noValueOnSuccess", "ttl", "prevExist", "refresh", "value", "consistent", "PrevIndex", "Value")
	if len(likely) > 0 && !g.one(6) {
		name = g.pick(likely...)
	}
	if g.one(200) {
		name = "wait"
	}
	if g.one(40) {
		return name
	}
	if g.one(60) {
		return g.pick("%zz", "a=%zz", "%=1", "a;b", "x=1;", "=", "=1", "&", "value=%4", "%76alue=z", "va%6cue=%")
	}
	return name + "=" + g.argument(name)
}

func (g *generator) argument(name string) string {
	switch name {
	case "prevIndex", "waitIndex":
		return g.number()
	case "prevValue":
		return g.pick("1", "2", "1", "2", "", "3", "a+b", "%3c")
	case "ttl":
		return g.ttl()
	case "value", "Value":
		return g.pick(values...)
	case "consistent", "PrevIndex":
		return g.pick("1", "x", "")
	}
	return g.flag()
}

func (g *generator) parameters(n int, likely ...string) string {
	var all []string
	for range n {
		all = append(all, g.parameter(likely...))
	}
	return strings.Join(all, "&")
}

// next makes a request.
func (g *generator) next() message {
	n := g.r.IntN(100)
	switch {
	case n < 32:
		return g.send("PUT", g.key(), "", g.parameters(g.r.IntN(4), "value", "value", "ttl", "prevExist", "prevValue", "prevIndex", "dir", "refresh", "noValueOnSuccess"))
	case n < 37:
		// Compare and swap that has a chance.
		return g.send("PUT", g.pick(files...), "", g.pick("value", "ttl=1000&value", "refresh=true&ttl=500&x", "dir=true&value")+"="+g.pick("1", "2")+"&"+g.pick("prevValue=1", "prevValue=2", "prevExist=true", "prevIndex="+g.number()))
	case n < 40:
		return g.send("PUT", g.pick(dirs...), "", g.pick("dir=true", "dir=true&ttl=1000", "dir=true&value=x", "dir=true&prevExist=false", "prevExist=true&value=1", "dir=true&refresh=true&ttl=5"))
	case n < 47:
		return g.send("POST", g.key(), "", g.parameters(g.r.IntN(3), "value", "ttl", "dir"))
	case n < 60:
		return g.send("DELETE", g.key(), g.parameters(g.r.IntN(3), "recursive", "dir", "prevValue", "prevIndex"), "")
	case n < 80:
		return g.send("GET", g.key(), g.parameters(g.r.IntN(3), "recursive", "sorted", "quorum"), "")
	case n < 84:
		return g.send("HEAD", g.key(), g.parameters(g.r.IntN(3), "recursive", "sorted", "quorum"), "")
	case n < 92:
		return g.watch()
	case !g.wild:
		return g.send("GET", g.pick(dirs...), "sorted=true&recursive=true", "")
	}
	return g.odd()
}

// send makes a request with parameters in the query and in a form; PUT and POST
// sometimes swap or mix them.
func (g *generator) send(method, key, query, form string) message {
	if (method == "PUT" || method == "POST") && g.one(3) {
		switch g.r.IntN(3) {
		case 0:
			query, form = form, query
		case 1:
			query = g.parameters(1+g.r.IntN(2), "value", "ttl", "prevExist", "dir")
		case 2:
			query = form
		}
	}
	target := "/v2/keys" + key
	if query != "" || g.one(30) {
		target += "?" + query
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", method, target)
	if g.one(3) {
		b.WriteString(g.pick("Accept: */*\r\n", "User-Agent: curl/7.88\r\n", "Accept-Encoding: gzip\r\n", "Connection: close\r\n", "Connection: keep-alive\r\n", "accept: text/html\r\nX-A: b\r\n"))
	}
	bodied := method == "PUT" || method == "POST" || form != ""
	if bodied && (form != "" || g.one(2)) {
		kind := "application/x-www-form-urlencoded"
		if g.one(10) {
			kind = g.pick("application/x-www-form-urlencoded; charset=utf-8", "APPLICATION/X-WWW-FORM-URLENCODED", "text/plain", "application/json", "", "multipart/form-data; boundary=x", "a/b; c", ";", "/", "application/x-www-form-urlencoded;", "application/x-www-form-urlencoded; a", "application/x-www-form-urlencoded; a=1; a=2")
		}
		fmt.Fprintf(&b, "Content-Type: %s\r\n", kind)
	}
	switch {
	case bodied && g.one(15):
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		if form != "" {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(form), form)
		}
		b.WriteString("0\r\n\r\n")
	case bodied:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(form), form)
	default:
		b.WriteString("\r\n")
	}
	return message{text: b.String(), head: method == "HEAD"}
}

// watch makes a watch.
func (g *generator) watch() message {
	m := message{watch: true, key: g.pick(append(files, dirs...)...)}
	query := "wait=" + g.pick("true", "1")
	if g.one(2) {
		query += "&recursive=true"
	}
	switch g.r.IntN(3) {
	case 0:
		m.past = true
		query += fmt.Sprintf("&waitIndex=%d", max(1, int64(g.index)-int64(g.r.IntN(20))))
	case 1:
		query += fmt.Sprintf("&waitIndex=%d", g.index+1+uint64(g.r.IntN(5)))
	}
	if g.one(3) {
		m.stream = true
		query += "&stream=" + g.pick("true", "1", "t")
	}
	if g.one(10) {
		query += "&" + g.pick("sorted=true", "dir=true", "ttl=5", "prevValue=", "recursive=x", "value=%zz", "x;y")
	}
	m.text = fmt.Sprintf("GET /v2/keys%s?%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", m.key, query)
	return m
}

// odd makes a request that is not about keys, or no proper one.
func (g *generator) odd() message {
	const host = "Host: 127.0.0.1\r\n"
	line := func(text string) message {
		return message{text: text + " HTTP/1.1\r\n" + host + "\r\n", head: strings.HasPrefix(text, "HEAD ")}
	}
	switch g.r.IntN(4) {
	case 0:
		return line(g.pick("PATCH", "OPTIONS", "TRACE", "FOO", "get", "Put", "PROPFIND", "MKCOL") + " " +
			g.pick("/v2/keys/f", "/v2/keys", "/v2/machines", "/version", "/nothing", "/v2/stats/self", "//x", "/v2/keys/../x", "/health", "/v2/keys/f?value=%zz"))
	case 1:
		return line(g.pick("GET", "GET", "PUT", "POST", "DELETE") + " " +
			g.pick("/", "/v2", "/v2/", "/v2/keysfoo", "/V2/keys", "/v1/keys/f", "/v2/machines/", "/version/", "/v2/stats", "/v2/stats/", "/v2/stats/leader/", "/nothing?x", "/health/", "/debug", "/debug/", "/debug/vars/", "/metrics/", "/config", "/config/local", "/config/local/log/", "/v2/keys%2Ff", "/v2%2Fkeys/f", "/%76%32/keys/f", "/v2/machines?x=%zz"))
	case 2:
		// Requests on which Go's library has changed its mind since 3.4 are left out.
		return message{text: g.pick(
			"GET http://127.0.0.1/v2/keys/f HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET http://other:1/v2/keys/f HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET http://127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET http://127.0.0.1/v2/keys//f HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"CONNECT /v2/keys/f HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET /v2/keys/f HTTP/1.0\r\n\r\n",
			"GET /v2/keys/f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\n\r\n",
			"GET /v2/keys/f HTTP/1.2\r\nHost: 127.0.0.1\r\n\r\n",
			"GET /v2/keys/f#x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET /v2/keys/\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: b\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a b\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost:\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost : a\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nConnection: CLOSE\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nvalue=1",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nval\r\n4\r\nue=1\r\n0\r\nX-T: 1\r\n\r\n",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
			"PUT /v2/keys/f HTTP/1.1\r\nHost: a\r\nExpect: banana\r\nContent-Length: 0\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
			"GET /v2/keys/f HTTP/1.1\nHost: a\n\n",
		)}
	}
	return line(g.pick("HEAD", "PUT", "POST", "DELETE") + " " + g.pick("/v2/machines", "/v2/stats/self", "/v2/stats/store", "/v2/stats/leader", "/version", "/health", "/debug/vars", "/config/local/log"))
}

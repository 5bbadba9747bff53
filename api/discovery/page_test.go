package discovery

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestPage(t *testing.T) {
	s, _ := newService(Config{})
	token := mint(t, s, "?size=2")
	look := func() string {
		t.Helper()
		a := ask(t, s, "GET", token, "", header("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"))
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("page = %d %v\n%s", a.status, a.header, a.body)
		}
		if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "'sha256-"+hash(style(t, a.body))+"'") {
			t.Errorf("policy %q does not fit the style of the page", policy)
		}
		return a.body
	}
	contains := func(page string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(page, text) {
				t.Errorf("page lacks %q:\n%s", text, page)
			}
		}
	}
	contains(look(), "<h1>0 of 2 have arrived</h1>", `http-equiv="refresh"`, "go away in 7 days")
	arrive(t, s, token, "b069a81907ddfc0f", "<i>=http://10.0.1.12:2380,<i>=http://10.0.1.12:7001")
	one := look()
	contains(one, "<h1>1 of 2 have arrived</h1>", "&lt;i&gt;", "http://10.0.1.12:2380<br>http://10.0.1.12:7001", "b069a81907ddfc0f", ">here<", ">expected<")
	if strings.Contains(one, "<i>") {
		t.Errorf("a name became part of the page:\n%s", one)
	}
	arrive(t, s, token, "a", "<script>alert(1)</script>")
	two := look()
	contains(two, "<h1>All 2 have arrived</h1>", "&lt;script&gt;")
	if strings.Contains(two, "refresh") || strings.Contains(two, "<script") || strings.Contains(two, "late") && !strings.Contains(two, ".late") {
		t.Errorf("page of a complete cluster:\n%s", two)
	}
	arrive(t, s, token, "0", "c=http://c:1")
	contains(look(), "<h1>All 2 have arrived</h1>", ">came too late<")
	if three := look(); strings.Index(three, "http://c:1") < strings.Index(three, "http://10.0.1.12:2380") {
		t.Errorf("the last to arrive is not the last:\n%s", three)
	}

	for _, accept := range []string{"", "*/*", "application/json", "application/texthtml"} {
		a := ask(t, s, "GET", token, "", header("Accept", accept))
		if a.header.Get("Content-Type") != "application/json" || a.header.Get("Vary") != "Accept" {
			t.Errorf("Accept %q: %v, want JSON", accept, a.header)
		}
	}
	gone := ask(t, s, "GET", someToken, "", header("Accept", "text/html"))
	if gone.status != http.StatusNotFound || !strings.Contains(gone.body, "no such token") {
		t.Errorf("page of an unknown token = %d %q", gone.status, gone.body)
	}
}

// style is what stands in the style element of a page.
func style(t *testing.T, page string) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no style in\n%s", page)
	}
	return found[1]
}

func TestLeft(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:           "less than a minute",
		80 * time.Second:       "1 minute",
		119 * time.Minute:      "119 minutes",
		47 * time.Hour:         "47 hours",
		7*24*time.Hour - 1:     "7 days",
		7 * 24 * time.Hour * 2: "14 days",
	} {
		if got := left(d); got != want {
			t.Errorf("left(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestSizeOf(t *testing.T) {
	for text, want := range map[string]int{"3": 3, "0": 0, "-1": 0, "x": 0, "1000": 1000, "1001": 0} {
		if got := sizeOf(text); got != want {
			t.Errorf("sizeOf(%q) = %d, want %d", text, got, want)
		}
	}
}

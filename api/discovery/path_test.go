package discovery

import (
	"path"
	"strings"
	"testing"
)

// Whatever the path, what comes of it lies below the token that it names.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{
		"/new", "/new/", "/", "", someToken, someToken + "/", someToken + "//", someToken + "/a", someToken + "/a/",
		someToken + "/_config/size", someToken + "/_config/size/", someToken + "/_config/other", someToken + "/_state",
		someToken + "/..", someToken + "/../x", someToken + "/.", "/" + someToken, someToken + "/a\x00b", strings.ToUpper(someToken),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got, ok := parsePath(p)
		if !ok || got.token == "" {
			if ok && p != "/new" {
				t.Errorf("parsePath(%q) is /new", p)
			}
			return
		}
		if !isToken(got.token) || !strings.HasPrefix(p, "/"+got.token) {
			t.Fatalf("parsePath(%q) = %+v, another token", p, got)
		}
		key := got.clientKey()
		if path.Clean(key) != key || !strings.HasPrefix(key+"/", registryKey+"/"+got.token+"/") {
			t.Errorf("parsePath(%q) leads to %q", p, key)
		}
		if depth := strings.Count(got.key, "/"); depth > 0 && got.key != sizeKey {
			t.Errorf("parsePath(%q) leads %d directories deep", p, depth)
		}
		if got.writable() && (strings.HasPrefix(got.key, configKey) || got.key == "" || strings.Contains(got.key, "/")) {
			t.Errorf("parsePath(%q) may be written", p)
		}
		if want := strings.TrimSuffix("/"+got.token+"/"+got.key, "/"); p != want && p != want+"/" {
			t.Errorf("parsePath(%q) stands for %q", p, want)
		}
	})
}
